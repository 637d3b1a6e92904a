"""How sharp the loss is where nodes end: `python -m fedbbpt_benchmarks.experiments.node_sharpness OUT.jsonl`.

Runs of `without_server` on a ring, with the steps of DFedAvg and with the sharpness-aware ones of DFedSAM. At the end,
each node measures on its training examples how much the loss rises where what it has trained is moved: at random, and
uphill. A finished run is a line of OUT.jsonl, so that a bench that was stopped goes on; at the end, the table of all
lines is printed.
"""

import statistics
import tempfile
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.errors import Program
from fedbbpt.run.train import train
from fedbbpt_benchmarks.experiments.stored_runs import run_missing
from fedbbpt_benchmarks.experiments.without_server import ALPHAS, TASKS, Cell, cell_of, config_of, error

METHODS = ("dfedavg", "dfedsam")
MEASURES = ("random", "adversarial")


@click.command(cls=Program)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", default="1", show_default=True)
@click.option("--limit", default=200, show_default=True, help="Test examples of a task.")
def main(out: Path, seeds: str, limit: int) -> None:
    """Runs all cells that OUT lacks, and prints the table."""
    wanted = [cell._asdict() for cell in cells(map(int, seeds.split(",")))]
    click.echo(table(run_missing(out, wanted, lambda row: result(cell_of(row), limit))))


def cells(seeds: Iterable[int]) -> list[Cell]:
    """All runs."""
    return [
        Cell(trained, task, alpha, seed, method, "ring")
        for seed, (trained, tasks) in product(seeds, TASKS.items())
        for alpha, task, method in product(ALPHAS, tasks, METHODS)
    ]


def result(cell: Cell, limit: int) -> dict[str, float]:
    """Trains a cell; by how much the loss rises, in nats."""
    with tempfile.TemporaryDirectory() as folder:
        nodes = train(config_of(cell, limit, measure_sharpness=True), Path(folder) / "run")["nodes"]
    found: Mapping[str, float] = nodes["prompt_sharpness" if cell.trained == "prompt" else "sharpness"]
    return dict(found)


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Means in thousandths of a nat, and DFedSAM's less DFedAvg's, paired by run: mean ± standard error."""
    found = {cell_of(row): [1e3 * row[name] for name in MEASURES] for row in rows}
    lines = [
        "| trained | runs of each | measured | DFedAvg | DFedSAM | difference |",
        "|---|---|---|---|---|---|",
    ]
    for trained, (i, name) in product(TASKS, enumerate(("at random", "uphill"))):
        pairs = [
            (values[i], found[cell._replace(method="dfedsam")][i])
            for cell, values in found.items()
            if (cell.trained, cell.method) == (trained, "dfedavg") and cell._replace(method="dfedsam") in found
        ]
        if pairs:
            plain, sharp = (statistics.fmean(one) for one in zip(*pairs, strict=True))
            apart = error([b - a for a, b in pairs])
            lines.append(f"| {trained} | {len(pairs)} | {name} | {plain:.2f} | {sharp:.2f} | {apart} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
