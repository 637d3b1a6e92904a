"""Latency of a tuned run and of its model: `python -m fedbbpt_benchmarks.experiments.tuned_latency RUN`.

Both are served, each in a process of its own, and asked in turn about the same pictures. RUN is that of an image task
with one prompt, whose backend has the option `model`.
"""

import json
import time
from functools import partial
from pathlib import Path

import click
import numpy as np

from fedbbpt.config.components import build_task
from fedbbpt.run.resume import read_run
from fedbbpt_backends.http_utils import base64_png
from fedbbpt_benchmarks.experiments.service_latency import Poster, seconds, served

PAUSE = 1.0  # seconds, after which idle threads of the other process no longer spin


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--each", default="1,16,64", show_default=True, help="Pictures of a request.")
@click.option("--times", default=10, show_default=True, help="Turns of both.")
@click.option("--requests", default=10, show_default=True, help="Requests of a turn.")
def main(run: Path, each: str, times: int, requests: int) -> None:
    """Medians of the seconds of a request, and of the ratios of two turns that follow each other."""
    config, _ = read_run(run)
    name, options = config.backend.name, config.backend.options
    counts = [*map(int, each.split(","))]
    pictures = build_task(config.task).load((70, 70)).test.batch(slice(max(counts))).inputs
    with (
        served(str(run)) as tuned,
        served("--backend", name, "--task", config.task.name, "-o", f"model={options['model']}") as raw,
    ):
        urls = [f"{url}/v1/classify" for url in (raw, tuned)]
        for count in counts:
            body = json.dumps({"inputs": [base64_png(one) for one in pictures[:count]]}).encode()
            turns = np.array([[turn(url, body, requests) for url in urls] for _ in range(times)])
            before, after = 1e3 * np.median(turns, 0)
            ratios = np.sort(turns[:, 1] / turns[:, 0])
            spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
            click.echo(f"{count} pictures: {before:.1f} ms, tuned {after:.1f} ms; {np.median(ratios):.3f} ({spread})")


def turn(url: str, body: bytes, requests: int) -> float:
    """The median of the seconds of some requests over one connection, after one that does not count."""
    time.sleep(PAUSE)
    post = Poster(url)  # services close connections that wait for a few seconds
    post(body)
    return float(np.median([seconds(partial(post, body)) for _ in range(requests)]))


if __name__ == "__main__":
    main()
