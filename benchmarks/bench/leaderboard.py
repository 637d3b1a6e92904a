"""Leaderboards in Markdown, CSV and HTML, made from the rows of `results.jsonl`."""

import csv
import io
import statistics
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fedbbpt.run import formatting
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.environment import read_results as run_results
from fedbbpt.run.report import charts
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.plan import method as method_of
from fedbbpt_benchmarks.bench.results import Row, write_rows

COST = ("queries", "requests", "tokens")


class Entry(NamedTuple):
    """The results of a method on a task, over the seeds."""

    task: str
    method: str
    rows: list[Row]

    @property
    def folder(self) -> str:
        """The report of the run, or the folder of all seeds; relative to the bench's folder."""
        path = Path(self.rows[0]["folder"])
        return (path / "report.html" if len(self.rows) == 1 else path.parent).as_posix()

    def mean(self, key: str = "accuracy") -> float:
        """The mean over the seeds."""
        return statistics.fmean(row[key] for row in self.rows)

    @property
    def cost(self) -> str:
        """Queries, requests and tokens per run."""
        return " / ".join(_count(self.mean(key)) for key in COST)

    @property
    def exchanges(self) -> float | None:
        """The mean over the seeds; None where a row is older than their count."""
        return self.mean("exchanges") if all("exchanges" in row for row in self.rows) else None

    @property
    def spread(self) -> float | None:
        """The sample standard deviation of the accuracy; None for one seed."""
        return statistics.stdev(row["accuracy"] for row in self.rows) if len(self.rows) > 1 else None


class Ranking(NamedTuple):
    """The averages of a method over the tasks that it has finished."""

    method: str
    title: str
    access: str
    tasks: int
    accuracy: float
    macro_f1: float
    queries: float  # a run
    requests: float
    tokens: float
    exchanges: float | None  # None where a row is older than their count
    sent: float  # bytes, in both directions
    wins: int | None  # tasks on which it is above its rival; None where that was not run
    ties: int | None
    losses: int | None
    p: float | None  # Wilcoxon signed-rank, two-sided, paired by task; None where nothing differs


def entries(rows: Sequence[Row]) -> dict[tuple[str, str], Entry]:
    """Groups the finished cells by task and method."""
    found: dict[tuple[str, str], Entry] = {}
    for row in rows:
        if row["error"] is None:
            key = row["task"], row["method"]
            found.setdefault(key, Entry(*key, [])).rows.append(row)
    return found


def rankings(bench: Bench, rows: Sequence[Row]) -> list[Ranking]:
    """Averages per method, best accuracy first."""
    known, rival, result = entries(rows), bench.against, []
    for method in bench.methods:
        own = [known[task, method] for task in bench.tasks if (task, method) in known]
        if not own:
            continue
        pairs = [(e.mean(), known[e.task, rival].mean()) for e in own if (e.task, rival) in known]
        averages = [statistics.fmean(entry.mean(key) for entry in own) for key in AVERAGED]
        compared = _compared(pairs) if method != rival and pairs else (None,) * 4
        facts = method_of(method)
        sent = sum(statistics.fmean(entry.mean(key) for entry in own) for key in ("bytes_up", "bytes_down"))
        exchanges = _mean_of_known([entry.exchanges for entry in own])
        result.append(Ranking(method, facts.title, facts.access, len(own), *averages, exchanges, sent, *compared))
    return sorted(result, key=lambda s: -s.accuracy)


AVERAGED = ("accuracy", "macro_f1", *COST)


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean, or None if one of the values is unknown."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _compared(pairs: Sequence[tuple[float, float]]) -> tuple[int, int, int, float | None]:
    differences = np.array([ours - theirs for ours, theirs in pairs])
    differences[np.abs(differences) < 1e-9] = 0
    p = float(scipy.stats.wilcoxon(differences).pvalue) if differences.any() else None
    return int((differences > 0).sum()), int((differences == 0).sum()), int((differences < 0).sum()), p


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
    template = _environment(autoescape=False).from_string(_template("leaderboard.md.j2"))
    return template.render(_facts(bench, rows) | {"linked": linked})


def _page(bench: Bench, out: Path, rows: Sequence[Row]) -> str:
    facts = _facts(bench, rows)
    facts |= {
        "colours": [
            (f"m{i}", method, charts.PALETTE[i % len(charts.PALETTE)]) for i, method in enumerate(bench.methods)
        ],
        "curves": [_curve(bench, out, line["task"], line["cells"]) for line in facts["lines"]],
    }
    return _environment(autoescape=True).from_string(_template("leaderboard.html.j2")).render(facts)


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
            _, metrics = run_results(out / row["folder"])
            points = [
                (m["queries"], 100 * m["accuracy"])
                for m in metrics
                if m["subset"] == "validation" and m["accuracy"] is not None
            ]
            lines.append(charts.Series(row["method"], style, points))
    return charts.line_chart(task, "queries", lines, legend=False)  # one stands above all charts


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(autoescape=autoescape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = _share
    environment.filters["count"] = _count
    environment.filters["size"] = formatting.format_bytes
    environment.filters["spread"] = lambda spread: "" if spread is None else f" ± {_share(spread)}"
    return environment


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _template(name: str) -> str:
    return files("fedbbpt_benchmarks.bench").joinpath(name).read_text("utf-8")
