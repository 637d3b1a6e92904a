"""The leaderboards of the repository, some of which are older than what leaderboards show now."""

import json
from pathlib import Path

import pytest

from fedbbpt_benchmarks.bench import leaderboard
from fedbbpt_benchmarks.bench.plan import Bench
from fedbbpt_benchmarks.bench.rankings import rankings

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("name", ["texts", "white-box"])
def test_leaderboards_that_are_older_than_exchanges_are_read(name: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text("utf-8").splitlines()]
    parts = {part: tuple(dict.fromkeys(row[part] for row in rows)) for part in ("task", "method", "seed")}
    one = Bench(parts["task"], parts["method"], parts["seed"], {})
    assert {ranking.means.exchanges for ranking in rankings(one, rows)} == {None}
    leaderboard.publish(one, tmp_path / name, rows)
    assert " | – | " in (tmp_path / f"{name}.md").read_text("utf-8")
