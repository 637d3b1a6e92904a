"""Answers, the responses that some were read from, and what they cost, in one SQLite file.

Nothing is used before it is on disk.

Write-ahead log, synchronous=FULL: a commit returns when the disk has it. What has come in meanwhile is committed
together, so many answers share one wait for the disk. Threads and processes may share the file.
"""

import atexit
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedbbpt.errors import RunError
from fedbbpt.services import Exchange, Reply, ledger, schema
from fedbbpt.services.ledger import Entry, Paid

PATIENCE = 60.0  # seconds to wait for another process's commit
MOST_KEYS = 500  # of one SELECT
GONE = """response IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM responses WHERE responses.key = response AND (expires IS NULL OR expires > ?)
)"""  # of answers: what they were read from has expired or was deleted


class Book(ledger.Ledger):
    """One commit in the making: the ledger, and the answers. `service` is what `Store.info` calls an answer's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._answers: list[tuple[object, ...]] = []
        self._exchanges: dict[str, Exchange] = {}

    def keep(self, entry: Entry, replies: Mapping[bytes, Reply], cost: int) -> None:
        """What a request brought, and what it cost: nothing, where a response was known."""
        sources = {reply.source.key: reply.source for reply in replies.values() if reply.source}
        if any(source.known for source in sources.values()):
            self.refuse(entry)
        else:
            tokens = sum(reply.tokens for reply in replies.values())
            output_tokens = sum(reply.output_tokens for reply in replies.values())
            self.settle(entry, tokens, output_tokens, cost)
            self._exchanges |= sources
        self.know(entry.service, replies)

    def know(self, service: str, replies: Mapping[bytes, Reply]) -> None:
        """What a service says, whatever it cost."""
        now = time.time()
        self._answers += [
            (key, service, r.scores.astype("<f4").tobytes(), *r[1:4], now, r.source and r.source.key)
            for key, r in replies.items()
        ]

    def expire(self, exchange: Exchange) -> None:
        """A response is known as long as it says, and so is what was read from it."""
        self._exchanges[exchange.key] = exchange

    def forget(self, keys: Iterable[str], service: str, tenant: str) -> int:
        """Responses are not known any more, nor is what was read from them; how many there were."""
        whose = "DELETE FROM responses WHERE key = ? AND service = ? AND tenant = ?"
        return self._connection.executemany(whose, [(key, service, tenant) for key in keys]).rowcount

    def close(self) -> None:
        """See `Ledger`."""
        if self._exchanges:
            gone, now = f"DELETE FROM answers WHERE key = ? AND {GONE}", time.time()
            self._connection.executemany(gone, [(answer[0], now) for answer in self._answers])
            ledger.insert(self._connection, "REPLACE INTO responses", [one[:-1] for one in self._exchanges.values()])
        ledger.insert(self._connection, "INSERT OR IGNORE INTO answers", self._answers)
        super().close()


class Store:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._reading = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writes = _connected(path)
            schema.create(self._writes)
            self._reads = _connected(path)
        except (OSError, sqlite3.Error) as e:
            raise RunError(f"answers cannot be kept in {path}: {e}; free some space, or set FEDBBPT_CACHE") from e

    def close(self) -> None:
        """Nothing is read or written any more."""
        self._reads.close()
        self._writes.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from, for one thread at a time."""
        with self._reading:
            yield self._reads

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
        now = time.time()
        with self.reading() as connection:
            for start in range(0, len(keys), MOST_KEYS):
                some = keys[start : start + MOST_KEYS]
                marks = ",".join("?" * len(some))
                known = f"FROM answers WHERE key IN ({marks}) AND NOT ({GONE})"
                rows = connection.execute(f"SELECT key, scores, tokens, output_tokens, unparsed {known}", [*some, now])
                found |= {row[0]: Reply(np.frombuffer(row[1], "<f4").astype(np.float32), *row[2:]) for row in rows}
        return found

    def paid(self, run: str) -> Paid:
        """What the run's answers took."""
        with self.reading() as connection:
            return ledger.paid(connection, run)

    def info(self) -> list[tuple[str, int, int, int, int]]:
        """Of each service: its name, number of answers, and what they took: tokens, of these output tokens, cost."""
        with self.reading() as connection:
            count = f"SELECT service, COUNT(*) FROM answers WHERE NOT ({GONE}) GROUP BY service"
            kept = dict(connection.execute(count, [time.time()]).fetchall())
            sums = "SUM(tokens), SUM(output_tokens), SUM(cost)"
            rows = connection.execute(f"SELECT service, {sums} FROM requests WHERE state = 'answered' GROUP BY service")
            took = {row[0]: row[1:] for row in rows}
        return [(name, kept.get(name, 0), *took.get(name, (0, 0, 0))) for name in sorted(kept | took)]

    def export(self) -> Iterator[tuple[str, bytes, Reply]]:
        """All answers: service, key, reply."""
        with self.reading() as connection:
            known = f"FROM answers WHERE NOT ({GONE}) ORDER BY service, at, key"
            for name, key, scores, *rest in connection.execute(
                f"SELECT service, key, scores, tokens, output_tokens, unparsed {known}", [time.time()]
            ):
                yield name, key, Reply(np.frombuffer(scores, "<f4"), *rest)

    def clear(self, service: str | None = None, refused: bool = False) -> int:
        """Forgets the answers, all or a service's, or only those without scores; how many.

        The ledger stays: budgets must not forget.
        """
        of_service = "(?1 IS NULL OR service = ?1)"
        without = " AND length(scores) = 0" if refused else ""
        with self.writing():
            return self._writes.execute(f"DELETE FROM answers WHERE {of_service}{without}", (service,)).rowcount


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
