"""Gossip with compressed letters: `python -m fedbbpt_benchmarks.experiments.compressed_letters OUT.jsonl`.

Sixteen nodes on a ring train a readout as in `without_server`, and their letters say all, or the most of what has
changed. The task has twenty classes, more than others of the suite, so that letters are longer than their headers.
Every finished run is a line of OUT.jsonl; at the end, the table of all lines is printed.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np

from fedbbpt.algorithms.compression import compress, make_compressor
from fedbbpt.commands.errors import Program
from fedbbpt.config import make_config
from fedbbpt.run.train import train
from fedbbpt.types import Update, Usage
from fedbbpt_benchmarks.experiments.stored_runs import run_missing
from fedbbpt_benchmarks.experiments.without_server import DIMENSIONS, NODES

TASK = "scripts"
COMPRESSIONS = ("none", "int8", "top-k:0.3", "top-k:0.1")
SEEDS = (1, 2, 3)
LIMIT = 300  # test examples of a task


@click.command(cls=Program)
@click.argument("out", type=click.Path(path_type=Path))
def main(out: Path) -> None:
    """Runs all cells that OUT lacks, and prints both tables."""
    cells = [{"compression": compression, "seed": seed} for compression, seed in product(COMPRESSIONS, SEEDS)]
    rows = run_missing(out, cells, lambda cell: result(cell["compression"], cell["seed"]))
    click.echo(f"{bytes_table()}\n\n{table(rows)}")


def result(compression: str, seed: int) -> dict[str, Any]:
    """Trains a cell."""
    settings: dict[str, Any] = {
        "task": {"name": TASK},
        "prompt": {"name": "none"},
        "algorithm": {"name": "gossip", "topology": "ring", "compression": compression},
        "data": {"clients": NODES, "dirichlet_alpha": 0.3, "test_limit": LIMIT},
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        summary = train(make_config(settings), Path(folder) / "run")
    kept = ("mean_accuracy", "consensus_distance", "bytes_per_link")
    return {"accuracy": summary["test_accuracy"], **{part: summary["nodes"][part] for part in kept}}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over seeds, by compression."""
    lines = ["| letters | a link | distance | own parameters | mean of nodes |", "|---|---|---|---|---|"]
    for compression in COMPRESSIONS:
        of = [row for row in rows if row["compression"] == compression]
        link = statistics.fmean(row["bytes_per_link"] for row in of) / 1e3
        parts = ("consensus_distance", "accuracy", "mean_accuracy")
        means = [f"{statistics.fmean(row[part] for row in of):.3f}" for part in parts]
        lines.append(f"| `{compression}` | {link:.0f} kB | {' | '.join(means)} |")
    return "\n".join(lines)


def bytes_table() -> str:
    """The bytes of a letter about d parameters, as it is serialised."""
    lines = [f"| d | {' | '.join(f'`{name}`' for name in COMPRESSIONS)} |", f"|---|{'---|' * len(COMPRESSIONS)}"]
    for d in DIMENSIONS:
        parts = {"prompt": np.ones(d, np.float32)}
        sizes = []
        for name in COMPRESSIONS:
            compressor = make_compressor(name)
            payload = parts if compressor is None else compress(parts, compressor)
            sizes.append(len(Update("client-000", payload, 10, 0.0, Usage()).to_bytes()))
        lines.append(f"| {d:,} | {' | '.join(f'{size / 1e3:,.1f} kB' for size in sizes)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
