"""Paid answers of services, the responses that they were read from, and the ledger, in one SQLite file.

Nothing is used before it is on disk: the write-ahead log is synchronised at each commit (synchronous=FULL). Answers
that arrive during a commit are committed together, so that many of them share one wait for the disk. Threads and
processes may share the file.
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
from fedbbpt.services import ServiceAnswer, StoredResponse, schema
from fedbbpt.services.ledger import BilledUsage, Ledger, LedgerEntry, billed_usage, insert

COMMIT_TIMEOUT = 60.0  # seconds to wait for another process's commit
KEYS_PER_SELECT = 500
ANSWER = "scores, tokens, output_tokens, unparsed"  # columns
EXPIRED = """response IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM responses WHERE responses.key = response AND (expires IS NULL OR expires > ?)
)"""  # of answers: the response that they were read from has expired or was deleted


class Transaction(Ledger):
    """Changes to the cache and the ledger that are committed together, see `AnswerCache.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._answers: list[tuple[object, ...]] = []
        self._responses: dict[str, StoredResponse] = {}

    def commit_answers(self, entry: LedgerEntry, answers: Mapping[bytes, ServiceAnswer], cost: int) -> None:
        """Stores a request's answers and commits its cost in nanodollars; cached responses cost nothing."""
        responses = {answer.response.key: answer.response for answer in answers.values() if answer.response}
        if any(response.from_cache for response in responses.values()):
            self.release(entry)
        else:
            tokens = sum(answer.tokens for answer in answers.values())
            output_tokens = sum(answer.output_tokens for answer in answers.values())
            self.commit(entry, tokens, output_tokens, cost)
            self._responses |= responses
        self.add(entry.service, answers)

    def add(self, service: str, answers: Mapping[bytes, ServiceAnswer]) -> None:
        """Stores answers of a service, whatever they cost; a key that has one keeps it."""
        now = time.time()
        self._answers += [
            (key, service, one.scores.astype("<f4").tobytes(), *one[1:4], now, one.response and one.response.key)
            for key, one in answers.items()
        ]

    def replace_response(self, response: StoredResponse) -> None:
        """Replaces a stored response, say to change when it and the answers read from it expire."""
        self._responses[response.key] = response

    def delete_responses(self, keys: Iterable[str], service: str, tenant: str) -> int:
        """Deletes responses, and with them the answers that were read from them; returns their number."""
        delete = "DELETE FROM responses WHERE key = ? AND service = ? AND tenant = ?"
        return self._connection.executemany(delete, [(key, service, tenant) for key in keys]).rowcount

    def flush(self) -> None:
        """See `Ledger.flush`."""
        if self._responses:
            expired, now = f"DELETE FROM answers WHERE key = ? AND {EXPIRED}", time.time()
            self._connection.executemany(expired, [(answer[0], now) for answer in self._answers])
            insert(self._connection, "REPLACE INTO responses", [one[:-1] for one in self._responses.values()])
        insert(self._connection, "INSERT OR IGNORE INTO answers", self._answers)
        super().flush()


class AnswerCache:
    """The file at `path`, created if it is missing.

    Raises:
        RunError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(path)
            schema.create(self._writer)
            self._reader = _connect(path)
        except (OSError, sqlite3.Error) as e:
            raise RunError(f"answers cannot be kept in {path}: {e}; free some space, or set FEDBBPT_CACHE") from e

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()
        self._writer.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from, for one thread at a time."""
        with self._read_lock:
            yield self._reader

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All changes made in the block are on disk after it; if it ends with an error, none of them is.

        Raises:
            RunError: they cannot be written.
        """
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                transaction = Transaction(self._writer)
                yield transaction
                transaction.flush()
                self._writer.execute("COMMIT")
            except BaseException as e:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                if isinstance(e, sqlite3.Error):
                    raise RunError(
                        f"answers cannot be kept in {self.path}: {e}; nothing that is there is lost: "
                        "free some space, and go on"
                    ) from e
                raise

    def get(self, keys: Sequence[bytes]) -> dict[bytes, ServiceAnswer]:
        """The answers that are stored and have not expired."""
        found: dict[bytes, ServiceAnswer] = {}
        now = time.time()
        with self.reading() as connection:
            for start in range(0, len(keys), KEYS_PER_SELECT):
                some = keys[start : start + KEYS_PER_SELECT]
                marks = ",".join("?" * len(some))
                where = f"FROM answers WHERE key IN ({marks}) AND NOT ({EXPIRED})"
                for key, scores, *rest in connection.execute(f"SELECT key, {ANSWER} {where}", [*some, now]):
                    found[key] = ServiceAnswer(np.frombuffer(scores, "<f4").astype(np.float32), *rest)
        return found

    def billed(self, run: str) -> BilledUsage:
        """What a run's answered requests took."""
        with self.reading() as connection:
            return billed_usage(connection, run)

    def statistics(self) -> list[tuple[str, int, int, int, int]]:
        """Of each service: its name, stored answers, and all that was billed: tokens, output tokens, nanodollars."""
        with self.reading() as connection:
            count = f"SELECT service, COUNT(*) FROM answers WHERE NOT ({EXPIRED}) GROUP BY service"
            stored = dict(connection.execute(count, [time.time()]).fetchall())
            sums = "SUM(tokens), SUM(output_tokens), SUM(cost)"
            rows = connection.execute(f"SELECT service, {sums} FROM requests WHERE state = 'answered' GROUP BY service")
            billed = {row[0]: row[1:] for row in rows}
        return [(name, stored.get(name, 0), *billed.get(name, (0, 0, 0))) for name in sorted(stored | billed)]

    def export(self) -> Iterator[tuple[str, bytes, ServiceAnswer]]:
        """All answers, with their service and key."""
        with self.reading() as connection:
            where = f"FROM answers WHERE NOT ({EXPIRED}) ORDER BY service, at, key"
            rows = connection.execute(f"SELECT service, key, {ANSWER} {where}", [time.time()])
            for name, key, scores, *rest in rows:
                yield name, key, ServiceAnswer(np.frombuffer(scores, "<f4"), *rest)

    def clear(self, service: str | None = None, refused: bool = False) -> int:
        """Deletes the answers, all or a service's, or only those without scores; returns their number.

        The ledger stays: budgets must not forget.
        """
        of_service = "(:service IS NULL OR service = :service)"
        without_scores = " AND length(scores) = 0" if refused else ""
        with self.transaction():
            delete = f"DELETE FROM answers WHERE {of_service}{without_scores}"
            return self._writer.execute(delete, {"service": service}).rowcount


@lru_cache
def open_cache(path: Path) -> AnswerCache:
    """The cache in a file, opened once per process."""
    cache = AnswerCache(path)
    atexit.register(cache.close)
    return cache


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=COMMIT_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
