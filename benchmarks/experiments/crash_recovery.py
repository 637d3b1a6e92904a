"""What it costs to be killed while asking a service: `python -m fedbbpt_benchmarks.experiments.crash_recovery`."""

import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path

import click

from fedbbpt_benchmarks.experiments.service_latency import served

ONE = "max_batch=1"  # so that an answer has the same bits whatever else is asked


@click.command()
@click.option("--times", default=50, show_default=True)
@click.option("--within", default=6.0, show_default=True, help="Seconds after its start in which a run is killed.")
@click.option("--rounds", default=60, show_default=True, help="Enough that the run is not over before its last kill.")
@click.option("--seed", default=1, show_default=True)
def main(times: int, within: float, rounds: int, seed: int) -> None:
    """A run that is killed (SIGKILL) at random moments and goes on: the same parameters, and what was paid twice."""
    rng, concurrency = random.Random(seed), 4
    settings = ["data.test_limit=60", "backend.model=embedded", "backend.image_size=70"]
    settings.append(f"backend.concurrency={concurrency}")
    run = ["--backend", "openai", "--clients", "3", "--shots-per-class", "2", "--rounds", str(rounds)]
    run += [word for setting in settings for word in ("-o", setting)]
    with tempfile.TemporaryDirectory() as folder:
        root, hit = Path(folder), 0
        with served("local-vit", "digits", ONE) as url:
            _train([*run, "-o", f"backend.base_url={url}/v1"], root / "whole").wait()
            undisturbed = queries_of(url)
        with served("local-vit", "digits", ONE) as url:  # one that remembers nothing
            while True:
                process = _train([*run, "-o", f"backend.base_url={url}/v1"], root / "killed")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(None if hit == times else rng.uniform(0, within))
                    break
                process.kill()
                process.wait()
                hit += 1
            paid = queries_of(url)
        ends = [max((root / name / "checkpoints").glob("*.safetensors")).read_bytes() for name in ("whole", "killed")]
    click.echo(f"{hit} kills; parameters equal: {ends[0] == ends[1]}")
    click.echo(f"{paid} queries paid, {undisturbed} undisturbed; at most {hit * concurrency} were in flight")


def _train(options: list[str], out: Path) -> "subprocess.Popen[bytes]":
    """`fedbbpt train`, from its start or from where it was, with a cache beside it."""
    command = ["--resume", str(out)] if (out / "config.toml").exists() else [*options, "--out", str(out)]
    env = os.environ | {"FEDBBPT_CACHE": f"{out}-cache"}
    return subprocess.Popen([sys.executable, "-m", "fedbbpt", "train", *command], env=env, stdout=subprocess.DEVNULL)


def queries_of(url: str) -> int:
    """How many queries a service has answered."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("fedbbpt_queries_total"))


if __name__ == "__main__":
    main()
