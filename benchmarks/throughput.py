"""How close training comes to the raw speed of the model that it queries: `python -m fedbbpt_benchmarks.throughput`.

Raw is the bare forward pass of the same network in the same process on full batches that are already resized,
normalised and in the model's number format. Training is a whole round of the default run: prompts, queries, losses,
optimizer, readout, merge. The two alternate, so that both see the same machine; the ratio is that of the medians.
"""

import statistics
import time
from typing import cast

import click
import numpy as np

from fedbbpt.run.config import make_config
from fedbbpt.run.exchange import CountedExchange
from fedbbpt.run.session import open_session
from fedbbpt_backends.local_vit import LocalViT


@click.command()
@click.option("--repetitions", default=9, show_default=True)
@click.option("--prompt", default="colour", show_default=True)
def main(repetitions: int, prompt: str) -> None:
    """Prints queries/s of the raw forward and of training, alternating, and their ratio."""
    import torch

    session = open_session(make_config({"prompt": {"name": prompt}}))
    backend = cast(LocalViT, session.backend)
    network, limit = backend.network, backend.info.batch_limit
    algorithm = session.algorithm()
    state = algorithm.init()
    images = network.prepare(np.random.default_rng(0).random((limit, 3, *network.model.size), np.float32))

    def raw(calls: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(calls):
                network.model.features(images).float().cpu()
        return calls * limit / (time.perf_counter() - start)

    def training() -> float:
        nonlocal state
        start = time.perf_counter()
        exchange = CountedExchange(session.engine, algorithm.sample(state, session.clients))
        state, _ = algorithm.round(state, exchange)
        return exchange.usage.queries / (time.perf_counter() - start)

    raw(2), training()  # warm up
    pairs = []
    for i in range(repetitions):
        pairs.append((raw(10), training()))
        click.echo(f"{i + 1:2}  raw {pairs[-1][0]:7.0f} queries/s   training {pairs[-1][1]:7.0f} queries/s")
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    raw_speed, training_speed = medians
    click.echo(f"    raw {raw_speed:7.0f} queries/s   training {training_speed:7.0f} queries/s   (medians)")
    click.echo(f"ratio {training_speed / raw_speed:.3f}")


if __name__ == "__main__":
    main()
