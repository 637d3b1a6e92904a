"""The numbers of the default task: `python -m fedbbpt_benchmarks.experiments.default_task [--out DIR]`.

Runs the default task over the seeds: in the default way, as `best`, with prompts drawn by chance, and with one prompt
tuned by SPSA-GC, with a head and without. Prints mean and sample standard deviation of the test accuracy, with what
each run asked and sent. "Head alone" is the baseline that every run with a head has beside it (see
`fedbbpt.run.evaluate.baselines`).
"""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.errors import Program
from fedbbpt.config import make_config
from fedbbpt.run.train import train
from fedbbpt_benchmarks.bench.plan import METHODS as METHOD

COLUMNS = ("method", "test accuracy", "by seed", "queries", "exchanges", "up, at most")
SPSA = {"optimizer": {"name": "spsa-gc"}}
FOUR = {"rounds": 3, "algorithm": {"name": "ensemble", "num_prompts": 4}}
METHODS: dict[str, Mapping[str, Any]] = {
    "prompt alone, by SPSA-GC": METHOD["prompt"].settings,
    "prompt by SPSA-GC, head": SPSA,
    "prompt by SPSA-GC, head every 5 rounds": {**SPSA, "evaluate_every": 5},
    "random prompt, head": METHOD["random-prompt"].settings,
    "prompt, head (default)": METHOD["default"].settings,
    "four prompts, head": {**METHOD["best"].settings, **FOUR},
    "eight random prompts, head": METHOD["random-views"].settings,
    "eight prompts, head (best)": METHOD["best"].settings,
}


@click.command(cls=Program)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the runs in this folder.")
def main(seeds: str, out: Path | None) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = out or Path(temporary)
        results = {name: [_run(root, name, int(seed)) for seed in seeds.split(",")] for name in METHODS}
    some = results["prompt, head (default)"]
    click.echo(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    asked = [s["queries_by_purpose"] for s in some]
    tests = [sum(sum(client["test"]) for client in s["clients"].values()) for s in some]
    _row("zero-shot", [s["zero_shot_accuracy"] for s in some], tests)
    _row("head alone", [s["readout_alone_accuracy"] for s in some], [a["baseline"] for a in asked])
    for name, summaries in results.items():
        megabytes = f"{max(s['bytes_up'] for s in summaries) / 1e6:.1f} MB"
        more = _range([s["exchanges"] for s in summaries]), megabytes
        _row(name, [s["test_accuracy"] for s in summaries], [s["queries"] for s in summaries], *more)


def _run(root: Path, name: str, seed: int) -> dict[str, Any]:
    return train(make_config({"seed": seed, **METHODS[name]}), root / f"{list(METHODS).index(name)}-{seed}")


def _row(name: str, values: list[float], queries: list[int], exchanges: str = "", up: str = "") -> None:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    by_seed = " ".join(f"{v:.3f}" for v in values)
    click.echo(
        f"| {name} | {statistics.mean(values):.3f}{spread} | {by_seed} | {_range(queries)} | {exchanges} | {up} |"
    )


def _range(numbers: list[int]) -> str:
    return "–".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


if __name__ == "__main__":
    main()
