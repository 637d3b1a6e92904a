"""`results.jsonl`: one row per cell, derived from the cells' folders alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import to_json, write_atomic
from fedbbpt.run.environment import read_environment, read_results
from fedbbpt_benchmarks.bench.plan import Bench, Cell
from fedbbpt_benchmarks.bench.runner import finished

Row = dict[str, Any]
COPIED = ("queries", "requests", "tokens", "exchanges", "bytes_up", "bytes_down", "seconds")


def collect(bench: Bench, out: Path) -> list[Row]:
    """Reads the rows of all cells that have been tried, in the bench's order, and writes `results.jsonl`."""
    rows = [row for cell in bench.cells if (row := read(out, cell))]
    write(out, rows)
    return rows


def write(out: Path, rows: Sequence[Row]) -> None:
    """Replaces `results.jsonl`."""
    write_rows(out / "results.jsonl", rows)


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Writes one row per line."""
    write_atomic(file, b"".join(to_json(row) + b"\n" for row in rows))


def read(out: Path, cell: Cell) -> Row | None:
    """Reads the row of a cell; None if it has not been tried."""
    folder = out / cell.path
    row: Row = {"task": cell.task, "method": cell.method, "seed": cell.seed, "folder": cell.path.as_posix()}
    if not finished(out, cell):
        trouble = folder / "error.json"
        return row | {"error": _load(trouble)["error"]} if trouble.is_file() else None
    try:
        return {**row, "error": None, **_reached(folder)}
    except RunError as e:
        return row | {"error": f"what the run left is damaged: {e} (or remove {folder} to run it again)"}


def _reached(folder: Path) -> Row:
    """The results of a finished run."""
    environment, (summary, _) = read_environment(folder), read_results(folder)
    return {
        "accuracy": summary["test_accuracy"],
        "macro_f1": summary["test_macro_f1"],
        "majority": summary["majority_accuracy"],
        "zero_shot": summary["zero_shot_accuracy"],
        "test_examples": sum(sum(client["test"]) for client in summary["clients"].values()),
        **{key: summary[key] for key in COPIED},
        "cost": summary["billed"]["cost"] if summary.get("billed") else None,  # dollars
        "versions": {"fedbbpt": environment.fedbbpt, "python": environment.python, **environment.packages},
    }


def _load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
