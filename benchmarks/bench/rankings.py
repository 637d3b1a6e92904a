"""Compares methods by the rows of `results.jsonl`: means over common tasks, and pairs of results on the same task."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.plan import method as method_of
from fedbbpt_benchmarks.bench.results import Row

COST = ("queries", "requests", "tokens")
AVERAGED = ("accuracy", "macro_f1", *COST)
Entries = Mapping[tuple[str, str], "Entry"]  # by task and method


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
    def exchanges(self) -> float | None:
        """The mean over the seeds; None where a row is older than their count."""
        return self.mean("exchanges") if all("exchanges" in row for row in self.rows) else None

    @property
    def spread(self) -> float | None:
        """The sample standard deviation of the accuracy; None for one seed."""
        return statistics.stdev(row["accuracy"] for row in self.rows) if len(self.rows) > 1 else None


class Means(NamedTuple):
    """The means of a method over the common tasks."""

    accuracy: float
    macro_f1: float
    queries: float  # a run
    requests: float
    tokens: float
    exchanges: float | None  # None where a row is older than their count
    sent: float  # bytes, in both directions


class Comparison(NamedTuple):
    """A method beside its rival, on all tasks that both have finished."""

    wins: int  # tasks on which it is above its rival
    ties: int
    losses: int
    p: float | None  # Wilcoxon signed-rank, two-sided, paired by task; None where nothing differs


class Ranking(NamedTuple):
    """A method's place in a leaderboard."""

    method: str
    title: str
    access: str
    tasks: int  # that it has finished
    means: Means | None  # None where there is no common task
    compared: Comparison | None  # None for the rival itself, and where it has finished none of the tasks


def entries(rows: Sequence[Row]) -> dict[tuple[str, str], Entry]:
    """Groups the finished cells by task and method."""
    found: dict[tuple[str, str], Entry] = {}
    for row in rows:
        if row["error"] is None:
            key = row["task"], row["method"]
            found.setdefault(key, Entry(*key, [])).rows.append(row)
    return found


def common_tasks(bench: Bench, rows: Sequence[Row]) -> list[str]:
    """The tasks that all methods have finished, of those methods that have finished any."""
    finished = _finished(bench, rows)
    methods = {method for _, method in finished}
    return [task for task in bench.tasks if methods and all((task, method) in finished for method in methods)]


def rankings(bench: Bench, rows: Sequence[Row]) -> list[Ranking]:
    """The methods that have finished a task, best mean accuracy first."""
    finished, common, result = _finished(bench, rows), common_tasks(bench, rows), []
    for method in bench.methods:
        tasks = [task for task in bench.tasks if (task, method) in finished]
        if not tasks:
            continue
        pairs = [
            (finished[task, method].mean(), finished[task, bench.against].mean())
            for task in tasks
            if (task, bench.against) in finished
        ]
        compared = _compared(pairs) if method != bench.against and pairs else None
        means = _means([finished[task, method] for task in common]) if common else None
        facts = method_of(method)
        result.append(Ranking(method, facts.title, facts.access, len(tasks), means, compared))
    return sorted(result, key=lambda ranking: -ranking.means.accuracy if ranking.means else 0)


def _finished(bench: Bench, rows: Sequence[Row]) -> Entries:
    """The entries with all seeds."""
    return {key: entry for key, entry in entries(rows).items() if len(entry.rows) == len(bench.seeds)}


def _means(own: Sequence[Entry]) -> Means:
    averages = [statistics.fmean(entry.mean(key) for entry in own) for key in AVERAGED]
    exchanges = [count for entry in own if (count := entry.exchanges) is not None]
    sent = sum(statistics.fmean(entry.mean(key) for entry in own) for key in ("bytes_up", "bytes_down"))
    return Means(*averages, statistics.fmean(exchanges) if len(exchanges) == len(own) else None, sent)


def _compared(pairs: Sequence[tuple[float, float]]) -> Comparison:
    differences = np.array([ours - theirs for ours, theirs in pairs])
    differences[np.abs(differences) < 1e-9] = 0
    p = float(scipy.stats.wilcoxon(differences).pvalue) if differences.any() else None
    return Comparison(int((differences > 0).sum()), int((differences == 0).sum()), int((differences < 0).sum()), p)
