"""Accuracy and loss by queries, from finished benches: `python -m fedbbpt_benchmarks.experiments.efficiency BENCH…`.

Run the benches with one `--budget`; methods of several benches are put side by side on the tasks and seeds that all of
them have. Losses and accuracies by queries are those of the parameters that a run would keep if it stopped there, on
its validation data; test accuracies are those of the runs' own ends. `--keep` leaves what was read off the folders in a
file, which can stand for them later.
"""

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from fedbbpt.commands.errors import Program
from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.run.environment import read_results as run_results
from fedbbpt.run.report import charts
from fedbbpt_benchmarks.bench import results
from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.results import write_rows

STYLE = "text{font:12px sans-serif;fill:#555}.heading{font-size:14px;font-weight:600}.grid{stroke:#ddd}" + "".join(
    f".line.m{i}{{stroke:{colour}}}circle.m{i}{{fill:{colour}}}" for i, colour in enumerate(charts.PALETTE)
)


class Point(NamedTuple):
    """What a run would keep, had it stopped after so many queries."""

    queries: int
    loss: float
    accuracy: float


class Run(NamedTuple):
    """A finished run of a bench."""

    task: str
    method: str
    seed: int
    test: float  # accuracy
    zero_shot: float | None
    alone: float | None  # readout alone
    path: list[Point]
    last: float  # validation loss after the last round

    def at(self, queries: int) -> Point:
        """The last point within a number of queries; the start counts always."""
        return [point for point in self.path if point.queries <= queries or point is self.path[0]][-1]


@click.command(cls=Program)
@click.argument("benches", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--against", help="The method whose final loss is to be reached.")
@click.option("--at", default="2500,5000,10000,20000", show_default=True, help="Queries at which to look.")
@click.option("--chart", type=click.Path(path_type=Path), help="Write the curves here, as SVG.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write what is read here, one run per line.")
def main(benches: tuple[Path, ...], against: str | None, at: str, chart: Path | None, keep: Path | None) -> None:
    """Prints a table of methods by what they reach with how many queries."""
    runs = list(itertools.chain.from_iterable(map(read, benches)))
    if keep is not None:
        write_rows(keep, [run._asdict() for run in runs])
    runs = shared(runs)
    stops = [int(stop) for stop in at.split(",")]
    methods = list(dict.fromkeys(run.method for run in runs))
    tasks, seeds = ({run[i] for run in runs} for i in (0, 2))
    click.echo(f"{len(tasks)} tasks, {len(seeds)} seeds, {len(runs)} runs\n")
    heads = [f"loss, accuracy at {stop:,}" for stop in stops]
    heads += ["test accuracy", "over zero-shot on", "over the head alone", "above its start, kept / last"]
    heads += [f"share of {against}'s queries"] if against else []
    click.echo(f"| method | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for method in methods:
        own = [run for run in runs if run.method == method]
        cells = [f"{_mean(r.at(s).loss for r in own):.3f}, {_mean(r.at(s).accuracy for r in own):.3f}" for s in stops]
        cells += [f"{_mean(run.test for run in own):.3f}", _above_zero_shot(own), _gain(own), _above_start(own)]
        cells += [_share(own, [run for run in runs if run.method == against])] if against else []
        click.echo(f"| {method} | {' | '.join(cells)} |")
    if chart is not None:
        write_atomic(chart, curves(runs, methods, max(stops)).encode())


def read(folder: Path) -> list[Run]:
    """The finished runs with a prompt of a bench, or of a file of them.

    Raises:
        RunError: no bench there.
    """
    if folder.is_file():
        rows = map(json.loads, folder.read_text("utf-8").splitlines())
        return [Run(**row | {"path": [Point(*point) for point in row["path"]]}) for row in rows]
    bench, runs = Bench.load(folder), []
    for cell in bench.cells:
        row = results.read(folder, cell)
        if row is None or row["error"] is not None:
            continue
        summary, everything = run_results(folder / cell.path)
        metrics = [m for m in everything if m["subset"] == "validation"]
        path = [Point(m["queries"], m["loss"], m["accuracy"]) for m in metrics if m["is_best"]]
        if summary["queries_by_purpose"]["training"]:
            baselines = summary["zero_shot_accuracy"], summary["readout_alone_accuracy"]
            runs.append(Run(*cell.key, summary["test_accuracy"], *baselines, path, metrics[-1]["loss"]))
    return runs


def shared(runs: Iterable[Run]) -> list[Run]:
    """Those on tasks and with seeds that every method has finished.

    Raises:
        RunError: there are none.
    """
    runs = list(runs)
    methods = {run.method for run in runs}
    have = {(run.task, run.seed, run.method) for run in runs}
    complete = [run for run in runs if all((run.task, run.seed, method) in have for method in methods)]
    if not complete:
        raise RunError("no task and seed was finished by all methods of these benches")
    return complete


def curves(runs: Sequence[Run], methods: Sequence[str], most: int) -> str:
    """Mean validation loss of the best checkpoint against queries, one line per method."""
    stops = [most * i // 40 for i in range(41)]
    lines = []
    for i, method in enumerate(methods):
        own = [run for run in runs if run.method == method]
        first = max(run.path[0].queries for run in own)
        points = [(float(s), _mean(run.at(s).loss for run in own)) for s in stops if s >= first]
        lines.append(charts.Series(method, f"m{i}", points))
    svg = str(charts.line_chart("validation loss", "queries", lines))
    head, _, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>.line{{fill:none;stroke-width:2}}{STYLE}</style>{rest}\n'


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _above_zero_shot(runs: Sequence[Run]) -> str:
    """On how many tasks the mean over seeds is above zero-shot's."""
    by_task = {run.task: [r for r in runs if r.task == run.task] for run in runs if run.zero_shot is not None}
    above = sum(_mean(r.test for r in own) > _mean(r.zero_shot or 0 for r in own) for own in by_task.values())
    return f"{above} of {len(by_task)}"


def _gain(runs: Sequence[Run]) -> str:
    """Mean and standard error over tasks, in points; nothing where a run has no readout to train."""
    pairs = [(run.task, run.test - run.alone) for run in runs if run.alone is not None]
    tasks = sorted({task for task, _ in pairs})
    gains = [100 * _mean(gain for other, gain in pairs if other == task) for task in tasks]
    if len(gains) < 2:
        return "–"
    return f"{_mean(gains):+.1f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.1f}"


def _above_start(runs: Sequence[Run]) -> str:
    """Runs whose validation loss ended above where it started: at the best checkpoint, and after the last round."""
    best = sum(run.path[-1].loss > run.path[0].loss for run in runs)
    return f"{best} / {sum(run.last > run.path[0].loss for run in runs)} of {len(runs)}"


def _share(runs: Sequence[Run], rivals: Sequence[Run]) -> str:
    """Median share of the rival's queries after which its final loss was reached; how often it never was."""
    shares = []
    for rival in rivals:
        (own,) = (run for run in runs if (run.task, run.seed) == (rival.task, rival.seed))
        reached = [point.queries for point in own.path if point.loss <= rival.path[-1].loss]
        shares.append(reached[0] / rival.path[-1].queries if reached and rival.path[-1].queries else None)
    known = [share for share in shares if share is not None]
    never = f", never in {len(shares) - len(known)}" if len(known) < len(shares) else ""
    return f"{statistics.median(known):.2f} (most {max(known):.2f}{never})" if known else "never"


if __name__ == "__main__":
    main()
