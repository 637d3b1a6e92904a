"""The numbers of the README's table: `python -m fedbbpt_benchmarks.experiments.default_task [--out DIR]`.

Runs the default task over the seeds, in the default way and with one prompt tuned by SPSA-GC, with a head and without,
and prints mean and sample standard deviation of the test accuracy, with the queries that each run asked. "Head alone"
is the baseline that every run with a head has beside it (see `fedbbpt.run.evaluate.baselines`).
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.errors import Program
from fedbbpt.config import make_config
from fedbbpt.run.train import train

ONE_PROMPT = {"rounds": 15, "optimizer": {"name": "spsa-gc"}}
METHODS = {
    "prompt alone, by SPSA-GC": {**ONE_PROMPT, "readout": {"name": "identity"}},
    "prompt by SPSA-GC, head": ONE_PROMPT,
    "four prompts, head": {"rounds": 3, "algorithm": {"name": "ensemble", "num_prompts": 4}},
    "eight prompts, head (default)": {},
}


@click.command(cls=Program)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the runs in this folder.")
def main(seeds: str, out: Path | None) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = out or Path(temporary)
        results = {name: [_run(root, name, int(seed)) for seed in seeds.split(",")] for name in METHODS}
    *_, default = results.values()
    click.echo(f"| {'method':29} | {'test accuracy':15} | {'by seed':22} | {'queries':15} |\n|---|---|---|---|")
    asked = [s["queries_by_purpose"] for s in default]
    tests = [sum(sum(client["test"]) for client in s["clients"].values()) for s in default]
    _row("zero-shot", [s["zero_shot_accuracy"] for s in default], tests)
    _row("head alone", [s["readout_alone_accuracy"] for s in default], [a["baseline"] for a in asked])
    for name, summaries in results.items():
        _row(name, [s["test_accuracy"] for s in summaries], [s["queries"] for s in summaries])


def _run(root: Path, name: str, seed: int) -> dict[str, Any]:
    return train(make_config({"seed": seed, **METHODS[name]}), root / f"{list(METHODS).index(name)}-{seed}")


def _row(name: str, values: list[float], queries: list[int]) -> None:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    asked = f"{min(queries):,}" if min(queries) == max(queries) else f"{min(queries):,}–{max(queries):,}"
    by_seed = " ".join(f"{v:.3f}" for v in values)
    click.echo(f"| {name:29} | {statistics.mean(values):.3f}{spread:10} | {by_seed:22} | {asked:15} |")


if __name__ == "__main__":
    main()
