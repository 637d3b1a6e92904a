"""Answers and what they cost, in one SQLite file: nothing is used before it is on disk.

Write-ahead log, synchronous=FULL: a commit returns when the disk has it. Threads hand their writes to one that commits
what has come in meanwhile together, so many answers share one wait for the disk. Processes may share the file.
"""

import atexit
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from fedbbpt.errors import BudgetError, RunError
from fedbbpt.remote import Reply, ledger
from fedbbpt.remote.ledger import Limits, Paid

PATIENCE = 60.0  # seconds to wait for another process's commit
MOST_KEYS = 500  # of one SELECT
ANSWERS = """
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, service TEXT NOT NULL, scores BLOB NOT NULL,
  tokens INTEGER NOT NULL, written INTEGER NOT NULL, unmatched INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
"""
Job = tuple[Callable[[sqlite3.Connection], Any], Future[Any]]  # what to write, and who waits for it


class Store:
    """See the module. `service` is the name that an answer's service has in `info`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connected() as connection:
                connection.executescript(ANSWERS + ledger.SCHEMA)
        except (OSError, sqlite3.Error) as e:
            raise RunError(f"answers cannot be kept in {path}: {e}; free some space, or set FEDBBPT_CACHE") from e
        self._thread = threading.Thread(target=self._write, name="answers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the writing thread."""
        self._jobs.put(None)
        self._thread.join()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """What is known."""
        found: dict[bytes, Reply] = {}
        with self._connected() as connection:
            for start in range(0, len(keys), MOST_KEYS):
                some = keys[start : start + MOST_KEYS]
                marks = ",".join("?" * len(some))
                rows = connection.execute(
                    f"SELECT key, scores, tokens, written, unmatched FROM answers WHERE key IN ({marks})", some
                )
                found |= {row[0]: Reply(np.frombuffer(row[1], "<f4").astype(np.float32), *row[2:]) for row in rows}
        return found

    def reserve(self, run: str, limits: Limits, service: str, key: str, queries: int, cost: int) -> int:
        """Notes that a request is about to be sent; its number.

        Raises:
            BudgetError: with it, the run could spend more than it may.
        """

        number: int = self._commit(lambda c: ledger.reserve(c, run, limits, service, key, queries, cost))
        return number

    def settle(self, number: int, service: str, replies: Mapping[bytes, Reply], cost: int) -> None:
        """Keeps what a request brought, and what it cost."""
        tokens, written = (sum(getattr(reply, part) for reply in replies.values()) for part in ("tokens", "written"))
        now = time.time()
        rows = [(key, service, r.scores.astype("<f4").tobytes(), *r[1:], now) for key, r in replies.items()]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(f"INSERT OR IGNORE INTO answers VALUES (?{',?' * 6})", rows)
            ledger.settle(connection, number, tokens, written, cost)

        self._commit(write)

    def lose(self, number: int) -> None:
        """The request brought nothing, and may have been charged."""
        self._commit(lambda connection: ledger.lose(connection, number))

    def refuse(self, number: int) -> None:
        """The service turned the request away: it costs nothing."""
        self._commit(lambda connection: ledger.refuse(connection, number))

    def paid(self, run: str) -> Paid:
        """What the run's answers took."""
        with self._connected() as connection:
            return ledger.paid(connection, run)

    def info(self) -> list[tuple[str, int, int, int, int]]:
        """Of each service: its name, how many answers are kept, and what they took: tokens, of them written, cost."""
        with self._connected() as connection:
            kept = dict(connection.execute("SELECT service, COUNT(*) FROM answers GROUP BY service").fetchall())
            sums = "SUM(tokens), SUM(written), SUM(cost)"
            rows = connection.execute(f"SELECT service, {sums} FROM requests WHERE state = 'answered' GROUP BY service")
            took = {row[0]: row[1:] for row in rows}
        return [(name, kept.get(name, 0), *took.get(name, (0, 0, 0))) for name in sorted(kept | took)]

    def export(self) -> Iterator[tuple[str, bytes, Reply]]:
        """All answers: service, key, reply."""
        with self._connected() as connection:
            for name, key, scores, *rest in connection.execute(
                "SELECT service, key, scores, tokens, written, unmatched FROM answers ORDER BY service, at, key"
            ):
                yield name, key, Reply(np.frombuffer(scores, "<f4"), *rest)

    def clear(self, service: str | None = None) -> int:
        """Forgets the answers, all or a service's; how many. The ledger stays: budgets must not forget."""

        def write(connection: sqlite3.Connection) -> int:
            if service is None:
                return connection.execute("DELETE FROM answers").rowcount
            return connection.execute("DELETE FROM answers WHERE service = ?", (service,)).rowcount

        count: int = self._commit(write)
        return count

    def _commit(self, write: Callable[[sqlite3.Connection], Any]) -> Any:
        """The result of `write`, once it is on disk."""
        done: Future[Any] = Future()
        self._jobs.put((write, done))
        try:
            return done.result()
        except sqlite3.Error as e:
            raise RunError(
                f"answers cannot be kept in {self.path}: {e}; nothing that is there is lost: free some space, and go on"
            ) from e

    def _write(self) -> None:
        with self._connected() as connection:
            while (job := self._jobs.get()) is not None:
                jobs = [job]
                while not self._jobs.empty() and (job := self._jobs.get()) is not None:
                    jobs.append(job)
                _together(connection, jobs)
                if job is None:
                    return

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            yield connection


@lru_cache
def open_store(path: Path) -> Store:
    """The store of this process for a file."""
    store = Store(path)
    atexit.register(store.close)
    return store


def _together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    """Several writes in one commit; one that is refused leaves the others as they are."""
    results: list[tuple[Any, Exception | None]] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for write, _ in jobs:
            try:
                results.append((write(connection), None))
            except BudgetError as e:  # it has written nothing
                results.append((None, e))
        connection.execute("COMMIT")
    except Exception as e:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        results = [(None, e)] * len(jobs)
    for (_, done), (result, error) in zip(jobs, results, strict=True):
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)
