"""Answers and what they cost, in one SQLite file: nothing is used before it is on disk.

Write-ahead log, synchronous=FULL: a commit returns when the disk has it. What has come in meanwhile is committed
together, so many answers share one wait for the disk. Threads and processes may share the file.
"""

import atexit
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedbbpt.errors import RunError
from fedbbpt.remote import Reply, ledger
from fedbbpt.remote.ledger import Entry, Paid

PATIENCE = 60.0  # seconds to wait for another process's commit
MOST_KEYS = 500  # of one SELECT
ANSWERS = """
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, service TEXT NOT NULL, scores BLOB NOT NULL,
  tokens INTEGER NOT NULL, written INTEGER NOT NULL, unmatched INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
"""


class Book(ledger.Ledger):
    """One commit in the making: the ledger, and the answers. `service` is what `Store.info` calls an answer's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._answers: list[tuple[object, ...]] = []

    def keep(self, entry: Entry, replies: Mapping[bytes, Reply], cost: int) -> None:
        """What a request brought, and what it cost."""
        tokens, written = (sum(getattr(reply, part) for reply in replies.values()) for part in ("tokens", "written"))
        self.settle(entry, tokens, written, cost)
        self.know(entry.service, replies)

    def know(self, service: str, replies: Mapping[bytes, Reply]) -> None:
        """What a service says, whatever it cost."""
        now = time.time()
        self._answers += [(key, service, r.scores.astype("<f4").tobytes(), *r[1:], now) for key, r in replies.items()]

    def close(self) -> None:
        """See `Ledger`."""
        ledger.insert(self._connection, "INSERT OR IGNORE INTO answers", self._answers)
        super().close()


class Store:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writes = _connected(path)
            self._writes.executescript(ANSWERS + ledger.SCHEMA)
        except (OSError, sqlite3.Error) as e:
            raise RunError(f"answers cannot be kept in {path}: {e}; free some space, or set FEDBBPT_CACHE") from e

    def close(self) -> None:
        """Nothing is written any more."""
        self._writes.close()

    @contextmanager
    def writing(self) -> Iterator[Book]:
        """All that is written in the block is on disk after it, or, where it ends with an error, nothing."""
        with self._lock:
            try:
                self._writes.execute("BEGIN IMMEDIATE")
                book = Book(self._writes)
                yield book
                book.close()
                self._writes.execute("COMMIT")
            except BaseException as e:
                with suppress(sqlite3.Error):
                    self._writes.execute("ROLLBACK")
                if isinstance(e, sqlite3.Error):
                    raise RunError(
                        f"answers cannot be kept in {self.path}: {e}; nothing that is there is lost: "
                        "free some space, and go on"
                    ) from e
                raise

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """What is known."""
        found: dict[bytes, Reply] = {}
        with closing(_connected(self.path)) as connection:
            for start in range(0, len(keys), MOST_KEYS):
                some = keys[start : start + MOST_KEYS]
                marks = ",".join("?" * len(some))
                rows = connection.execute(
                    f"SELECT key, scores, tokens, written, unmatched FROM answers WHERE key IN ({marks})", some
                )
                found |= {row[0]: Reply(np.frombuffer(row[1], "<f4").astype(np.float32), *row[2:]) for row in rows}
        return found

    def paid(self, run: str) -> Paid:
        """What the run's answers took."""
        with closing(_connected(self.path)) as connection:
            return ledger.paid(connection, run)

    def info(self) -> list[tuple[str, int, int, int, int]]:
        """Of each service: its name, how many answers are kept, and what they took: tokens, of them written, cost."""
        with closing(_connected(self.path)) as connection:
            kept = dict(connection.execute("SELECT service, COUNT(*) FROM answers GROUP BY service").fetchall())
            sums = "SUM(tokens), SUM(written), SUM(cost)"
            rows = connection.execute(f"SELECT service, {sums} FROM requests WHERE state = 'answered' GROUP BY service")
            took = {row[0]: row[1:] for row in rows}
        return [(name, kept.get(name, 0), *took.get(name, (0, 0, 0))) for name in sorted(kept | took)]

    def export(self) -> Iterator[tuple[str, bytes, Reply]]:
        """All answers: service, key, reply."""
        with closing(_connected(self.path)) as connection:
            for name, key, scores, *rest in connection.execute(
                "SELECT service, key, scores, tokens, written, unmatched FROM answers ORDER BY service, at, key"
            ):
                yield name, key, Reply(np.frombuffer(scores, "<f4"), *rest)

    def clear(self, service: str | None = None) -> int:
        """Forgets the answers, all or a service's; how many. The ledger stays: budgets must not forget."""

        with self.writing():
            if service is None:
                return self._writes.execute("DELETE FROM answers").rowcount
            return self._writes.execute("DELETE FROM answers WHERE service = ?", (service,)).rowcount


@lru_cache
def open_store(path: Path) -> Store:
    """The store of this process for a file."""
    store = Store(path)
    atexit.register(store.close)
    return store


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
