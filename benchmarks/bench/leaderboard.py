"""Leaderboards in Markdown, CSV and HTML, made from the rows of `results.jsonl`."""

import csv
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fedbbpt.run import formatting
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.environment import read_results as run_results
from fedbbpt.run.report import charts
from fedbbpt.templates import render
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.rankings import COST, Entry, common_tasks, entries, rankings
from fedbbpt_benchmarks.bench.results import Row, write_rows


def write(bench: Bench, out: Path, rows: Sequence[Row]) -> None:
    """Writes all three files to the bench's folder."""
    write_atomic(out / "leaderboard.md", _markdown(bench, rows, linked=True).encode())
    write_atomic(out / "leaderboard.csv", _csv(rows).encode())
    write_atomic(out / "leaderboard.html", _page(bench, out, rows).encode())


def publish(bench: Bench, stem: Path, rows: Sequence[Row]) -> None:
    """Writes `stem`.jsonl, .md and .csv, without links into the bench's folder."""
    with writing(stem.parent):
        stem.parent.mkdir(parents=True, exist_ok=True)
    write_rows(stem.with_suffix(".jsonl"), rows)
    write_atomic(stem.with_suffix(".md"), _markdown(bench, rows, linked=False).encode())
    write_atomic(stem.with_suffix(".csv"), _csv(rows).encode())


def _markdown(bench: Bench, rows: Sequence[Row], *, linked: bool) -> str:
    return _filled("leaderboard.md.j2", _facts(bench, rows) | {"linked": linked})


def _page(bench: Bench, out: Path, rows: Sequence[Row]) -> str:
    facts = _facts(bench, rows)
    facts |= {
        "colours": [
            (f"m{i}", method, charts.PALETTE[i % len(charts.PALETTE)]) for i, method in enumerate(bench.methods)
        ],
        "curves": [_curve(bench, out, line["task"], line["cells"]) for line in facts["lines"]],
    }
    return _filled("leaderboard.html.j2", facts)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    columns = ("task", "method", "seeds", "accuracy", "std", "macro_f1", "majority", *COST, "exchanges", "folder")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for entry in entries(rows).values():
        means = [f"{entry.mean(key):.6f}" for key in ("accuracy", "macro_f1", "majority", *COST)]
        spread, exchanges = ("" if x is None else f"{x:.6f}" for x in (entry.spread, entry.exchanges))
        row = [entry.task, entry.method, len(entry.rows), means[0], spread, *means[1:], exchanges, entry.folder]
        writer.writerow(row)
    return text.getvalue()


def _facts(bench: Bench, rows: Sequence[Row]) -> dict[str, Any]:
    known = entries(rows)
    lines = []
    for task in bench.tasks:
        cells = [known.get((task, method)) for method in bench.methods]
        some = [cell for cell in cells if cell]
        if some:
            facts = {"majority": some[0].mean("majority"), "tests": some[0].rows[0]["test_examples"]}
            lines.append({"task": task, "cells": cells, "best": max(cell.mean() for cell in some), **facts})
    return {
        "bench": bench,
        "rankings": rankings(bench, rows),
        "common": len(common_tasks(bench, rows)),
        "lines": lines,
        "errors": [row for row in rows if row["error"] is not None],
        "notes": [(task, note) for task in bench.tasks if task in suite.SPECS and (note := suite.SPECS[task].note)],
        "versions": next((row["versions"] for row in rows if row["error"] is None), {}),
    }


def _curve(bench: Bench, out: Path, task: str, cells: Sequence[Entry | None]) -> Markup:
    """Validation accuracy by queries so far, for the first seed of each method."""
    lines = []
    for row in (row for cell in cells if cell for row in cell.rows):
        style = f"m{bench.methods.index(row['method'])}"
        if row["seed"] == bench.seeds[0]:
            lines.append(charts.Series(row["method"], style, _points(out / row["folder"])))
    return charts.line_chart(task, "queries", lines, legend=False)  # one stands above all charts


@functools.cache  # the page is written after each run, and what a finished run has measured never changes
def _points(run: Path) -> list[tuple[float, float]]:
    """The validation accuracy of a finished run, in percent, by its queries so far."""
    _, metrics = run_results(run)
    return [
        (row["queries"], 100 * row["accuracy"])
        for row in metrics
        if row["subset"] == "validation" and row["accuracy"] is not None
    ]


def _filled(name: str, facts: Mapping[str, Any]) -> str:
    filters: dict[str, Callable[..., str]] = {
        "share": _share,
        "count": _count,
        "cost": lambda entry: " / ".join(_count(entry.mean(key)) for key in COST),
        "size": formatting.format_bytes,
        "spread": lambda spread: "" if spread is None else f" ± {_share(spread)}",
    }
    return render("fedbbpt_benchmarks.bench", name, facts, filters=filters)


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
