"""Training against the bare model, in speed and memory: `python -m fedbbpt_benchmarks.experiments.throughput`.

Raw is the bare forward pass of the same network in the same process on full batches that are already resized,
normalised and in the model's number format. Training is a whole round of the default run: prompts, queries, losses,
optimizer, readout, merge. The two alternate, so that both see the same machine; the ratio is that of the medians.

Memory is the peak of a process that opens the run and does twelve raw passes, and of one that trains for three rounds.
"""

import resource
import statistics
import subprocess
import sys
import time
from typing import Any, cast

import click
import numpy as np

from fedbbpt.algorithms import ClientMemory
from fedbbpt.commands.errors import Program
from fedbbpt.config import make_config
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.simulation import open_simulation
from fedbbpt_backends.local_vit import LocalViT


class Work:
    """A run that is open, to be trained or only to be used for its model."""

    def __init__(self, prompt: str) -> None:
        self._experiment = open_simulation(make_config({"prompt": {"name": prompt}}))
        self._network, limit = cast(LocalViT, self._experiment.backend).network, self._experiment.backend.info.max_batch
        self._algorithm = self._experiment.algorithm
        self._engine = self._experiment.open_engine({client.id: ClientMemory() for client in self._experiment.clients})
        self._state = self._algorithm.init()
        self._images: Any = self._network.preprocess(
            np.random.default_rng(0).random((limit, 3, *self._network.model.size), np.float32)
        )

    def raw(self, calls: int) -> float:
        """Queries a second of so many forward passes."""
        import torch

        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(calls):
                self._network.model.features(self._images).float().cpu()
        return calls * len(self._images) / (time.perf_counter() - start)

    def training(self) -> float:
        """Queries a second of the next round."""
        start = time.perf_counter()
        sampled = self._algorithm.sample(self._state, self._experiment.client_sizes)
        pool = MeteredClientPool(self._engine, self._algorithm, sampled, self._state)
        self._state, _ = self._algorithm.round(self._state, pool.send)
        return pool.usage.queries / (time.perf_counter() - start)


@click.command(cls=Program)
@click.option("--repetitions", default=9, show_default=True)
@click.option("--prompt", default="affine", show_default=True)
@click.option("--peak", type=click.Choice(["raw", "training"]), help="Only print the peak of memory of one of the two.")
def main(repetitions: int, prompt: str, peak: str | None) -> None:
    """Prints queries/s of the raw forward and of training, alternating, their memory, and the ratios."""
    if peak is not None:
        work = Work(prompt)
        for _ in range(3):
            work.raw(4) if peak == "raw" else work.training()
        click.echo(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB on Linux
        return
    memory = [_peak(prompt, kind) / 1e3 for kind in ("raw", "training")]
    work, pairs = Work(prompt), []
    work.raw(2), work.training()  # warm up
    for i in range(repetitions):
        pairs.append((work.raw(20), work.training()))
        click.echo(f"{i + 1:2}  raw {pairs[-1][0]:7.0f} queries/s   training {pairs[-1][1]:7.0f} queries/s")
    speeds = [statistics.median(column) for column in zip(*pairs, strict=True)]
    for what, unit, (raw, training) in (("median", "queries/s", speeds), ("memory", "MB", memory)):
        click.echo(f"{what}  raw {raw:7.0f} {unit}   training {training:7.0f} {unit}   ratio {training / raw:.3f}")


def _peak(prompt: str, kind: str) -> float:
    command = [sys.executable, "-m", __spec__.name, "--prompt", prompt, "--peak", kind]
    return 1.024 * float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
