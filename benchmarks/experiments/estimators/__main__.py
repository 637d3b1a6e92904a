"""Searches in a plane, measured once and drawn: `python -m fedbbpt_benchmarks.experiments.estimators FOLDER`.

All numbers are in FOLDER/estimators.jsonl: the landscape, the slopes at the start, and each search in a line. What is
not yet there is measured: 76,000 queries for the landscape, 1,760 for the slopes, and at most 5,280 for each search.
Then the pictures are drawn, and the table printed, from the file alone.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
import numpy as np

from fedbbpt.commands.errors import Program
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt_benchmarks.bench.results import write_rows
from fedbbpt_benchmarks.experiments.estimators.arrows import draw_slopes
from fedbbpt_benchmarks.experiments.estimators.paths import draw_paths
from fedbbpt_benchmarks.experiments.estimators.plane import METHODS, Landscape, Run, landscape, run
from fedbbpt_benchmarks.experiments.estimators.slopes import Slopes, slopes

SEEDS = (1, 2, 3, 4, 5)  # the first is drawn
X, Y = np.linspace(-2, 14, 25), np.linspace(-4, 8, 19)
Rows = list[dict[str, Any]]


@click.command(cls=Program)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Measures what FOLDER/estimators.jsonl lacks, draws two SVGs beside it, and prints the losses."""
    file = folder / "estimators.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    for row in missing(rows):
        rows.append(row)
        write_rows(file, rows)
    for name, drawing in drawings(rows).items():
        write_atomic(folder / name, drawing.encode())
    click.echo(table(searches(rows)))


def missing(rows: Rows) -> Iterator[dict[str, Any]]:
    """Measures what is not among the rows of a file."""
    done = {(row["part"], row.get("method"), row.get("seed")) for row in rows}
    if ("landscape", None, None) not in done:
        yield {"part": "landscape"} | landscape(X.round(4).tolist(), Y.round(4).tolist())._asdict()
    if ("slopes", None, None) not in done:
        yield {"part": "slopes"} | slopes()._asdict()
    for seed in SEEDS:
        for method in METHODS:
            if ("search", method, seed) not in done:
                yield {"part": "search"} | run(method, seed)._asdict()


def drawings(rows: Rows) -> Mapping[str, str]:
    """The SVGs by their files' names."""
    (loss,), (found,) = (parts(rows, name) for name in ("landscape", "slopes"))
    drawn = [search for search in searches(rows) if search.seed == SEEDS[0]]
    return {
        "estimators-paths.svg": draw_paths(Landscape(**loss), drawn),
        "estimators-slopes.svg": draw_slopes(Slopes(**found)),
    }


def searches(rows: Rows) -> list[Run]:
    """All searches of a file."""
    return [Run(**row) for row in parts(rows, "search")]


def parts(rows: Rows, name: str) -> Rows:
    """The rows of one kind, without its name."""
    return [{key: value for key, value in row.items() if key != "part"} for row in rows if row["part"] == name]


def table(runs: Sequence[Run]) -> str:
    """Losses at the end over the seeds, and what each search took, as Markdown."""
    lines = ["| search | loss at the end | by seed | candidates asked | queries |", "|---|---|---|---|---|"]
    for method in METHODS:
        own = [run for run in runs if run.method == method]
        losses = [run.loss for run in own]
        by_seed = " ".join(f"{loss:.3f}" for loss in losses)
        asked, spent = _range(len(run.asked) for run in own), _range(run.path[-1][0] for run in own)
        lines.append(f"| {method} | {fmean(losses):.3f} ± {stdev(losses):.3f} | {by_seed} | {asked} | {spent} |")
    return "\n".join(lines)


def _range(counts: Iterable[int]) -> str:
    """One count where all are equal, else the least and the most."""
    ends = sorted(set(counts))
    return "–".join(f"{end:,}" for end in ends[:1] + ends[1:][-1:])


if __name__ == "__main__":
    main()
