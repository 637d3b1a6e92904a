"""Writes a page that compares finished runs of one task: curves, results on the same test examples, and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from fedbbpt.errors import ConfigError, RunError
from fedbbpt.printing import one_line
from fedbbpt.run.environment import read_environment, read_results
from fedbbpt.run.finished import open_finished
from fedbbpt.run.formatting import DASH, format_cost, format_duration
from fedbbpt.run.report import charts
from fedbbpt.run.report.charts import Series
from fedbbpt.run.report.intervals import Difference, paired_difference, wilson_interval
from fedbbpt.run.report.page import Section, heading_of
from fedbbpt.run.report.rendering import write_page
from fedbbpt.run.report.tables import validation_examples
from fedbbpt.run.tested import ScoredExamples, read_tested

DASHES = ("", "6 3", "2 3", "8 3 2 3")  # of lines, beside their colours
SECTIONS = [Section("compared", "Results"), Section("overlaid", "Learning curves"), Section("spent", "Costs")]


@dataclass(frozen=True)
class Compared:
    """One of the runs."""

    name: str
    heading: str  # what the run is
    summary: dict[str, Any]
    rows: list[dict[str, Any]]  # of the metrics, those on validation data
    tested: ScoredExamples | None

    @property
    def tests(self) -> int:
        """The number of test examples."""
        return sum(sum(one["test"]) for one in self.summary["clients"].values())


class ResultRow(NamedTuple):
    """A run in the table of results; `beside` says in words why there is no difference."""

    run: Compared
    interval: tuple[float, float]
    validation: str
    difference: Difference | None
    beside: str


def write_comparison(folders: Sequence[Path], out: Path) -> Path:
    """Writes the page of two or more finished runs, which are compared with the first of them; returns its path.

    Raises:
        ConfigError: one run is named twice.
        RunError: a run is not finished, the runs are of several tasks, or the page cannot be written.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("expected different runs to compare, and one folder is named twice; name it once")
    runs = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    first = runs[0]
    for folder, run in zip(folders, runs, strict=True):
        if _task(run) != _task(first):
            raise RunError(
                f"{folders[0]} is a run of {_said(first)}, and {folder} one of {_said(run)}; compare runs of one task"
            )
    write_page(
        out,
        "comparison.html.j2",
        heading=f"{len(runs)} runs of {first.summary['task']}",
        sections=SECTIONS,
        runs=runs,
        styles=[
            (f"run-{i}", charts.class_colour(i), DASHES[i // len(charts.PALETTE) % len(DASHES)])
            for i in range(len(runs))
        ],
        results=[_result(run, first) for run in runs],
        charts=_curves(runs),
        costs=[(run.name, run.summary, *_cost(run)) for run in runs],
        thing="example",
    )
    return out


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or else their paths where two have one name."""
    short = [folder.resolve().name for folder in folders]
    return [one_line(name if short.count(name) == 1 else str(path)) for name, path in zip(short, folders, strict=True)]


def _read(folder: Path, name: str) -> Compared:
    run, _ = open_finished(folder)
    summary, rows = read_results(folder)
    validation = [row for row in rows if row["subset"] == "validation"]
    tested = read_tested(folder, read_environment(folder).files)
    return Compared(name, heading_of(run), summary, validation, tested)


def _task(run: Compared) -> tuple[str, list[str]]:
    return run.summary["task"], run.summary["classes"]


def _said(run: Compared) -> str:
    return one_line(f"{run.summary['task']} with {len(run.summary['classes'])} classes")


def _result(run: Compared, first: Compared) -> ResultRow:
    accuracy, count = run.summary["test_accuracy"], validation_examples(run.summary)
    validation, interval = f"(n={count:,})", wilson_interval(accuracy, run.tests)
    if run is first:
        return ResultRow(run, interval, validation, None, "the others are compared with it")
    if run.tested is None or first.tested is None:
        which = first.name if first.tested is None else run.name
        return ResultRow(run, interval, validation, None, f"unpaired: {which} does not keep its answers by example")
    paired = run.tested.beside(first.tested)
    beside = "" if paired else "unpaired: the test examples are not the same"
    return ResultRow(run, interval, validation, paired_difference(paired and paired._asdict()), beside)


def _curves(runs: Sequence[Compared]) -> list[Markup]:
    """Validation accuracy and loss of all runs, over rounds and over queries."""
    counts = sorted({validation_examples(run.summary) for run in runs})
    examples = f"(n={counts[0]:,})" if len(counts) == 1 else f"(n={counts[0]:,} to {counts[-1]:,})"
    drawn = []
    for key, title, factor, unit in (
        ("accuracy", f"Validation accuracy {examples}, %", 100, " %"),
        ("loss", f"Validation loss {examples}, nats", 1, " nats"),
    ):
        for x in ("round", "queries"):
            lines = []
            for i, run in enumerate(runs):
                known = [row for row in run.rows if row[key] is not None]
                points = [(row[x], factor * row[key]) for row in known]
                tips = [
                    f"{run.name}, round {row['round']}, {row['queries']:,} queries: {y:.4g}{unit}"
                    for row, (_, y) in zip(known, points, strict=True)
                ]
                lines.append(Series(run.name, f"run-{i}", points, tips))
            drawn.append(charts.line_chart(title, x, lines, legend=False))
    return drawn


def _cost(run: Compared) -> tuple[str, str]:
    """What was paid, and the time."""
    bill = run.summary["billed"]
    return format_cost(bill["cost"]) if bill else DASH, format_duration(run.summary["seconds"])
