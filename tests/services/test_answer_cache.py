import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from fedbbpt.errors import BudgetError, RunError
from fedbbpt.services import ServiceAnswer
from fedbbpt.services.answer_cache import AnswerCache, _connect
from fedbbpt.services.ledger import BilledUsage, Budget
from fedbbpt.services.prices import FREE, Price, list_month, list_price

EARLIER = """
CREATE TABLE answers (
  key BLOB PRIMARY KEY, service TEXT NOT NULL, scores BLOB NOT NULL,
  tokens INTEGER NOT NULL, written INTEGER NOT NULL, unmatched INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE requests (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, service TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
  queries INTEGER NOT NULL, tokens INTEGER NOT NULL, written INTEGER NOT NULL, cost INTEGER NOT NULL, at REAL NOT NULL
);
CREATE TABLE spent (
  run TEXT PRIMARY KEY, queries INTEGER NOT NULL, calls INTEGER NOT NULL, cost INTEGER NOT NULL
) WITHOUT ROWID;
"""


@pytest.fixture
def store(tmp_path):
    store = AnswerCache(tmp_path / "answers.sqlite")
    yield store
    store.close()


def reply(number):
    return ServiceAnswer(np.array([number, -0.1, np.inf], np.float32), 7, 2, 1)


def answer(store, key, run="run", cost=5, service="s", limits=Budget()):  # noqa: B008
    with store.transaction() as transaction:
        entry = transaction.reserve(run, limits, service, "name", 1, cost)
    with store.transaction() as transaction:
        transaction.commit_answers(entry, {key: reply(len(key))}, cost)


def test_answers_come_back_with_all_their_bits(store, tmp_path):
    answer(store, b"key")
    with closing(AnswerCache(tmp_path / "answers.sqlite")) as again:
        (found,) = again.get([b"key", b"other"]).values()
    assert found.scores.tobytes() == reply(3).scores.tobytes()
    assert found[1:] == (7, 2, 1, None)


def test_many_keys_are_read_at_once(store):
    answer(store, b"key")
    assert list(store.get([*(bytes([i % 256, i // 256]) for i in range(3000)), b"key"])) == [b"key"]
    assert store.get([]) == {}


def test_the_first_answer_stays(store):
    answer(store, b"key")
    with store.transaction() as transaction:
        entry = transaction.reserve("run", Budget(), "s", "name", 1, 1)
        transaction.commit_answers(entry, {b"key": reply(99)}, 1)
    assert store.get([b"key"])[b"key"].scores[0] == 3


def test_a_refused_request_costs_nothing_and_a_lost_one_its_most(store):
    with store.transaction() as transaction:
        first = transaction.reserve("run", Budget(requests=2, cost=10), "s", "a", 1, 10)
        with pytest.raises(BudgetError, match="max_cost"):
            transaction.reserve("run", Budget(requests=2, cost=10), "s", "b", 1, 1)
        transaction.release(first)
        second = transaction.reserve("run", Budget(requests=2, cost=10), "s", "b", 1, 8)
        transaction.mark_lost(second)
        with pytest.raises(BudgetError, match="max_cost"):
            transaction.reserve("run", Budget(requests=2, cost=10), "s", "c", 1, 3)
        third = transaction.reserve("run", Budget(requests=2, cost=10), "s", "c", 1, 2)
        transaction.commit_answers(third, {}, 1)
        with pytest.raises(BudgetError, match="max_requests=2"):
            transaction.reserve("run", Budget(requests=2, cost=10), "s", "d", 1, 0)
    assert store.billed("run") == BilledUsage(1, 1, 0, 0, 1)


def test_many_threads_share_a_limit(store):
    refused = []

    def spend():
        for number in range(20):
            try:
                answer(store, f"{threading.get_ident()}-{number}".encode(), limits=Budget(requests=50))
            except BudgetError:
                refused.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.billed("run").requests == 50
    assert len(refused) == 110


def test_info_export_and_clear(store):
    answer(store, b"one")
    answer(store, b"three", service="t")
    assert store.statistics() == [("s", 1, 7, 2, 5), ("t", 1, 7, 2, 5)]
    assert [(name, key, one.scores[0]) for name, key, one in store.export()] == [("s", b"one", 3), ("t", b"three", 5)]
    assert store.clear("s") == 1
    assert store.clear() == 1
    assert store.get([b"one", b"three"]) == {}
    assert store.billed("run").requests == 2  # the book stays


def test_an_answer_survives_the_death_of_the_process(tmp_path):
    program = f"""
import os, signal, sys
import numpy as np
from pathlib import Path
from fedbbpt.services import ServiceAnswer
from fedbbpt.services.ledger import Budget
from fedbbpt.services.answer_cache import AnswerCache, _connect
store = AnswerCache(Path({str(tmp_path)!r}) / "answers.sqlite")
with store.transaction() as transaction:
    entry = transaction.reserve("run", Budget(), "s", "a", 1, 4)
    transaction.commit_answers(entry, {{b"key": ServiceAnswer(np.ones(2, np.float32))}}, 3)
    transaction.reserve("run", Budget(), "s", "b", 2, 40)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    store = AnswerCache(tmp_path / "answers.sqlite")
    assert list(store.get([b"key"])) == [b"key"]
    assert store.billed("run")[:2] == (1, 1)
    with store.transaction() as transaction, pytest.raises(BudgetError, match="3 are spent"):  # with the two in flight
        transaction.reserve("run", Budget(queries=3), "s", "c", 1, 0)
    store.close()


def test_what_cannot_be_written_is_said(store, tmp_path, monkeypatch):
    with closing(_connect(store.path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(RunError, match=r"answers cannot be kept in .*: disk is full; nothing that is there is lost"):
        answer(store, b"key")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="set FEDBBPT_CACHE"):
        AnswerCache(tmp_path / "file" / "answers.sqlite")
    (tmp_path / "no.sqlite").write_text("something else, and long enough to be seen as such" * 30)
    with pytest.raises(RunError, match="not a database"):
        AnswerCache(tmp_path / "no.sqlite")


def test_it_waits_for_the_disk(store):
    with closing(_connect(store.path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert sqlite3.threadsafety > 0


class TestPrices:
    def test_are_whole_billionths_of_a_dollar(self):
        assert Price(0.15, 0.6).cost(1_000_000, 0) == 150_000_000
        assert Price(0.15, 0.6).cost(7, 2) == 5 * 150 + 2 * 600
        assert FREE.cost(10**9, 10**9) == 0

    @pytest.mark.parametrize(
        ("model", "price"),
        [
            ("gpt-4o-mini", Price(0.15, 0.6)),
            ("gpt-4o-mini-2024-07-18", Price(0.15, 0.6)),
            ("gpt-4o-2024-08-06", Price(2.5, 10)),
            ("gpt-4o-audio", None),
            ("my-model", None),
        ],
    )
    def test_of_a_dated_model_are_those_of_its_family(self, model, price):
        assert list_price(model) == price
        assert len(list_month()) == 7


def test_answers_of_an_earlier_version_stay_known(tmp_path):
    path = tmp_path / "answers.sqlite"
    old = sqlite3.connect(path)
    old.executescript(EARLIER)
    old.execute("INSERT INTO answers VALUES (?, 's', ?, 7, 2, 1, 0)", (b"key", np.ones(2, "<f4").tobytes()))
    old.execute("INSERT INTO requests VALUES (1, 'run', 's', 'name', 'answered', 1, 7, 2, 5, 0)")
    old.execute("INSERT INTO spent VALUES ('run', 1, 1, 5)")
    old.commit()
    old.close()
    with closing(AnswerCache(path)) as store, closing(AnswerCache(path)):  # opened twice
        assert store.get([b"key"])[b"key"][1:4] == (7, 2, 1)
        assert store.billed("run") == BilledUsage(1, 1, 7, 2, 5)
        with pytest.raises(BudgetError, match="max_requests=1"), store.transaction() as transaction:
            transaction.reserve("run", Budget(requests=1), "s", "name", 1, 1)
