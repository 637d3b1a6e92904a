"""Latency of a tuned run and of its model: `python -m fedbbpt_benchmarks.experiments.tuned_latency RUN`.

Both are served, each in a process of its own, and asked in turn about the same pictures. RUN is that of an image task
with one prompt; its model is `local-vit`.
"""

import json
from functools import partial
from pathlib import Path

import click
import numpy as np

from fedbbpt.config.components import build_task
from fedbbpt.run.resume import read_run
from fedbbpt_backends.http_utils import base64_png
from fedbbpt_benchmarks.experiments.service_latency import Poster, seconds, served


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--each", default="1,16,64", show_default=True, help="Pictures of a request.")
@click.option("--times", default=100, show_default=True, help="Requests of each kind.")
def main(run: Path, each: str, times: int) -> None:
    """Median latencies, and the median of the ratios of two requests that follow each other."""
    config, _ = read_run(run)
    pictures = build_task(config.task).load((70, 70)).test.batch(slice(64)).inputs
    with (
        served(str(run)) as tuned,
        served("--backend", "local-vit", "--task", config.task.name) as raw,
    ):
        posts = [Poster(f"{url}/v1/classify") for url in (raw, tuned)]
        for count in map(int, each.split(",")):
            body = json.dumps({"inputs": [base64_png(one) for one in pictures[:count]]}).encode()
            for post in posts:
                post(body)
            pairs = np.array([[seconds(partial(post, body)) for post in posts] for _ in range(times)])
            before, after = 1e3 * np.median(pairs, 0)
            ratio = np.median(pairs[:, 1] / pairs[:, 0])
            click.echo(f"{count} pictures: {before:.1f} ms as it is, {after:.1f} ms tuned; ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
