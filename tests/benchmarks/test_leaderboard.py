"""The files that a bench makes of its rows, and the page that sorts and filters them."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest

from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench import leaderboard
from fedbbpt_benchmarks.bench.plan import Bench

Row = dict[str, object]
TASKS = ("digits", "shapes", "stripes", "letters", "serifs", "mnist")


def bench() -> Bench:
    return Bench(TASKS, ("zero-shot", "head"), (1, 2), {})


def test_files_hold_means_spreads_links_and_failures(
    bench_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "_points", lambda folder: [])
    failed = {"task": "mnist", "method": "head", "seed": 2, "folder": "x", "error": "<no> luck"}
    leaderboard.write(bench(), tmp_path, [*bench_rows, failed])
    text = (tmp_path / "leaderboard.md").read_text()
    assert "[.600](digits/head) ± .014" in text
    assert "- mnist, head, seed 2: <no> luck" in text
    assert "| mnist | 1,500 / 10 / 3,750 | 1,500 / 10 / 3,750 |" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert '<a href="digits/head" class="best">.600</a>' in page
    assert "&lt;no&gt; luck" in page
    with (tmp_path / "leaderboard.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 12
    assert {line["exchanges"] for line in table} == {"30.000000"}
    assert "| 3,750 | 30 | 1.5" in text
    assert float(table[-1]["accuracy"]) == pytest.approx(0.9)


def test_what_is_published_has_no_links_and_says_why_a_head_fails(
    bench_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = dataclasses.replace(suite.SPECS["mnist"], note="too few digits.")
    monkeypatch.setitem(suite.SPECS, "mnist", noted)
    leaderboard.publish(bench(), tmp_path / "kept" / "one", bench_rows)
    text = (tmp_path / "kept" / "one.md").read_text()
    assert "| .600 ± .014 |" in text
    assert "](" not in text
    assert "- mnist: too few digits." in text
    assert "fedbbpt bench --tasks digits,shapes" in text
    assert len((tmp_path / "kept" / "one.jsonl").read_text().splitlines()) == len(bench_rows)
    assert (tmp_path / "kept" / "one.csv").exists()


@pytest.fixture
def page(bench_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page of two methods, one of which lacks a task."""
    monkeypatch.setattr(leaderboard, "_points", lambda folder: [])
    left = [r for r in bench_rows if (r["task"], r["method"]) != ("mnist", "head")]
    leaderboard.write(bench(), tmp_path, left)
    return (tmp_path / "leaderboard.html").read_text()


def test_the_page_says_over_how_many_tasks_the_means_are(page: str, tmp_path: Path) -> None:
    assert "mean over 5 common tasks" in page
    assert "mean over 5 common tasks" in (tmp_path / "leaderboard.md").read_text()


def test_numbers_are_sorted_by_their_values_and_what_is_missing_by_none(page: str) -> None:
    rows = re.findall(r'<th scope="row">mnist</th>.*?</tr>', page, re.DOTALL)
    assert re.findall(r'data-value="(.*?)"', rows[0]) == ["100", "0.1", "0.5", ""]


def test_every_table_has_a_name_and_headers_with_scope(page: str) -> None:
    for name in ("Methods", "Tasks", "Cost"):
        assert f'role="region" aria-label="{name}" tabindex="0"' in page
    assert "<th>" not in page
    assert page.count("aria-sort") >= 1


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "@import" not in page
    assert "url(" not in page


def test_without_a_common_task_the_files_say_so(
    bench_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "_points", lambda folder: [])
    apart = [r for r in bench_rows if (r["method"] == "head") == (r["task"] == "mnist")]
    leaderboard.write(bench(), tmp_path, apart)
    for kind in ("md", "html"):
        assert "There is no common task" in (tmp_path / f"leaderboard.{kind}").read_text()
    assert "| head | a linear head on the answers | answers | 1 | – | – |" in (tmp_path / "leaderboard.md").read_text()
