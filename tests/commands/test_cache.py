"""Answers that were paid for, seen from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.services import NO_SCORES, ServiceAnswer
from fedbbpt.services.answer_cache import open_cache
from fedbbpt.services.client import FILE
from fedbbpt.services.ledger import Budget


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers of one model and one of another."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    store = open_cache(tmp_path / FILE)
    for name, keys in {"gpt": [b"a", b"b"], "other": [b"c"]}.items():
        scores = np.array([-0.1, -2.5], np.float32)
        with store.transaction() as transaction:
            entry = transaction.reserve("run", Budget(), name, "request", len(keys), 0)
            transaction.commit_answers(entry, {key: ServiceAnswer(scores, 1200, 1) for key in keys}, 250_000_000)


def run(*arguments: object, typed: str = "") -> str:
    done = CliRunner().invoke(main, ["cache", *map(str, arguments)], input=typed)
    assert done.exit_code == 0, done.output
    return done.output


def test_info_shows_the_cost_of_the_answers(tmp_path: Path) -> None:
    lines = run("info").splitlines()
    assert lines[0] == str(tmp_path / FILE)
    assert lines[1].split() == ["gpt", "2", "answers", "2,400", "tokens", "2", "output", "$0.2500"]
    assert lines[2].split()[:2] == ["other", "1"]


def test_export_writes_one_answer_per_line(tmp_path: Path) -> None:
    assert "3 answers in" in run("export", tmp_path / "answers.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["gpt", "gpt", "other"]
    assert np.array_equal(np.array(rows[0]["scores"], np.float32), np.array([-0.1, -2.5], np.float32))
    assert rows[0]["key"] == b"a".hex()


def test_clear_asks_for_confirmation() -> None:
    done = CliRunner().invoke(main, ["cache", "clear"], input="n\n")
    assert done.exit_code == 1
    assert "They will have to be paid for again" in done.output
    assert "2 answers deleted" in run("clear", "--model", "gpt", "--yes")
    assert "1 answers deleted" in run("clear", typed="y\n")
    assert run("info").splitlines()[1].split()[1] == "0"


def test_clear_may_drop_refusals_only(tmp_path: Path) -> None:
    with open_cache(tmp_path / FILE).transaction() as transaction:
        transaction.add("gpt", {b"refused": NO_SCORES})
        transaction.add("other", {b"too": NO_SCORES})
    assert "1 answers deleted" in run("clear", "--refused", "--model", "gpt", "--yes")
    assert "1 answers deleted" in run("clear", "--refused", "--yes")
    assert run("info").splitlines()[1].split()[:2] == ["gpt", "2"]
