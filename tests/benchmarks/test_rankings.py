"""Methods compared over common tasks, and task by task."""

import pytest
import scipy.stats

from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.rankings import common_tasks, entries, rankings

Row = dict[str, object]
TASKS = ("digits", "shapes", "stripes", "letters", "serifs", "mnist")


@pytest.fixture
def bench(bench_rows) -> Bench:
    """Six tasks, two methods and two seeds."""
    return Bench(TASKS, ("zero-shot", "head"), (1, 2), {})


def without(rows: list[Row], task: str, method: str, seed: int | None = None) -> list[Row]:
    """The rows without those of a cell."""
    return [r for r in rows if (r["task"], r["method"]) != (task, method) or seed not in (None, r["seed"])]


def test_methods_are_compared_task_by_task(bench: Bench, bench_rows: list[Row], bench_gains) -> None:
    best, zero = rankings(bench, bench_rows)
    assert (best.method, best.tasks, best.access) == ("head", 6, "answers")
    assert best.means.accuracy == pytest.approx(0.5 + sum(bench_gains) / 6)
    assert best.means[2:] == (1500, 10, 3750, 30, 1500)
    assert best.compared[:3] == (4, 1, 1)
    assert best.compared.p == pytest.approx(scipy.stats.wilcoxon(bench_gains).pvalue)
    assert (zero.method, zero.compared) == ("zero-shot", None)


def test_the_method_to_be_compared_with_is_chosen(bench_rows: list[Row], tmp_path) -> None:
    one = Bench(TASKS, ("zero-shot", "head"), (1, 2), {}, against="head")
    best, zero = rankings(one, bench_rows)
    assert (zero.method, *zero.compared[:3]) == ("zero-shot", 1, 1, 4)
    assert (best.method, best.compared) == ("head", None)
    one.save(tmp_path)
    assert Bench.load(tmp_path) == one


@pytest.mark.parametrize("seed", [None, 2])
def test_means_are_over_the_tasks_that_all_methods_have_finished(
    bench: Bench, bench_rows: list[Row], bench_gains, seed: int | None
) -> None:
    left = without(bench_rows, "mnist", "zero-shot", seed)
    best, zero = rankings(bench, left)
    assert common_tasks(bench, left) == list(TASKS[:-1])
    assert (best.tasks, zero.tasks) == (6, 5)
    assert best.means.accuracy == pytest.approx(0.5 + sum(bench_gains[:-1]) / 5)
    assert zero.means.accuracy == 0.5
    assert sum(best.compared[:3]) == 5


def test_a_method_that_has_finished_nothing_yet_takes_no_common_task_away(bench: Bench, bench_rows: list[Row]) -> None:
    left = [r for r in bench_rows if r["method"] != "head" or (r["task"], r["seed"]) == ("digits", 1)]
    assert [ranking.method for ranking in rankings(bench, left)] == ["zero-shot"]
    assert common_tasks(bench, left) == list(TASKS)


def test_without_a_common_task_there_are_no_means(bench: Bench, bench_rows: list[Row]) -> None:
    parts = {"zero-shot": TASKS[:2], "head": TASKS[2:]}
    left = [r for r in bench_rows if r["task"] in parts[r["method"]]]
    assert common_tasks(bench, left) == []
    assert [(ranking.tasks, ranking.means, ranking.compared) for ranking in rankings(bench, left)] == [
        (2, None, None),
        (4, None, None),
    ]


def test_nothing_finished_is_nothing_to_rank(bench: Bench) -> None:
    assert rankings(bench, []) == common_tasks(bench, []) == []


def test_one_seed_links_to_its_report(bench_row) -> None:
    (entry,) = entries([bench_row("digits", "head", 1, 0.5)]).values()
    assert entry.folder == "digits/head/seed-1/report.html"
    assert entry.spread is None
