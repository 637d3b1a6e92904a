"""The numbers of the README's table: `python -m fedbbpt_benchmarks.default_task [--out DIR]`.

Runs the default task over the seeds, with the head and without, and prints mean and sample standard deviation of the
test accuracy, with the queries that each run asked. "Head alone" is the baseline that every run with a head trains on
the same clients' unprompted images (see `fedbbpt.run.evaluate.baselines`).
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click

from fedbbpt.run.config import make_config
from fedbbpt.run.train import train


@click.command()
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the runs in this folder.")
def main(seeds: str, out: Path | None) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = out or Path(temporary)
        both, prompt_alone = (
            [_run(root, readout, int(seed)) for seed in seeds.split(",")] for readout in ("head", "identity")
        )
    click.echo(f"| {'method':24} | {'test accuracy':15} | {'by seed':22} | {'queries':15} |\n|---|---|---|---|")
    unprompted = [s["queries_by_purpose"]["unprompted"] for s in both]
    _row("zero-shot", [s["zero_shot_accuracy"] for s in both], [s["queries_by_purpose"]["test"] for s in both])
    _row("head alone", [s["readout_alone_accuracy"] for s in both], unprompted)
    _row("prompt alone", *_scores(prompt_alone))
    _row("prompt + head (default)", *_scores(both))


def _run(root: Path, readout: str, seed: int) -> dict[str, Any]:
    return train(make_config({"seed": seed, "readout": {"name": readout}}), root / f"{readout}-{seed}")


def _scores(summaries: list[dict[str, Any]]) -> tuple[list[float], list[int]]:
    return [s["test_accuracy"] for s in summaries], [s["queries"] for s in summaries]


def _row(name: str, values: list[float], queries: list[int]) -> None:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    asked = f"{min(queries):,}" if min(queries) == max(queries) else f"{min(queries):,}–{max(queries):,}"
    by_seed = " ".join(f"{v:.3f}" for v in values)
    click.echo(f"| {name:24} | {statistics.mean(values):.3f}{spread:10} | {by_seed:22} | {asked:15} |")


if __name__ == "__main__":
    main()
