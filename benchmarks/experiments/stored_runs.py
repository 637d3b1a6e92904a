"""Finished runs of an experiment, a JSON line for each, so that one that was stopped goes on."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click


def read(out: Path) -> list[dict[str, Any]]:
    """The finished runs of a file; none if there is no file."""
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


def run_missing(
    out: Path, cells: Iterable[Mapping[str, Any]], result: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Runs all cells that a file lacks, and adds a line for each once it is finished; returns all lines."""
    done = read(out)
    for cell in cells:
        if not any(cell.items() <= row.items() for row in done):
            row = {**cell, **result(cell)}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            click.echo(json.dumps(row), err=True)
    return read(out)
