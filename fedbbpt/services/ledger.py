"""The book of requests: what a run has spent, and whether it may spend more."""

import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from fedbbpt.errors import BudgetError

MOST_ROWS = 90  # of a statement, which may have 999 values


class Limits(NamedTuple):
    """What a run may spend at most; None is no limit."""

    queries: int | None = None
    requests: int | None = None
    cost: int | None = None  # 10⁻⁹ dollars


class Account(NamedTuple):
    """Who pays, and how much at most; nobody's has no limits."""

    run: str = ""
    limits: Limits = Limits()


class Spent(NamedTuple):
    """What a run has spent. Requests that brought no answer, or of which nothing is known yet, count in full."""

    queries: int = 0
    requests: int = 0
    cost: int = 0  # 10⁻⁹ dollars: of answers what they cost, of the others the most it can be


class Paid(NamedTuple):
    """What a run's answers took, without requests that brought none."""

    queries: int = 0
    requests: int = 0
    tokens: int = 0
    output_tokens: int = 0
    cost: int = 0  # 10⁻⁹ dollars


class Entry(NamedTuple):
    """A request, as it stands in the book."""

    id: int
    run: str
    service: str
    key: str
    state: str  # sent, answered, or lost: it brought nothing, and may have been charged
    queries: int
    tokens: int
    output_tokens: int
    cost: int  # 10⁻⁹ dollars: before it is answered, the most it can be
    at: float


class Ledger:
    """The book in one commit: what it says is read when it is asked for, what is new is written by `close`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._spent: dict[str, Spent] = {}
        self._entries: dict[int, Entry] = {}
        self._gone: list[int] = []

    def reserve(self, run: str, limits: Limits, service: str, key: str, queries: int, cost: int) -> Entry:
        """Notes that a request is about to be sent.

        Raises:
            BudgetError: with it, the run could spend more than it may. Nothing is noted of it.
        """
        has = self._of(run)
        after = Spent(has.queries + queries, has.requests + 1, has.cost + cost)
        for name, limit, would, before in zip(Limits._fields, limits, after, has, strict=True):
            if limit is not None and would > limit:
                raise _too_much(name, limit, before)
        self._spent[run] = after
        return self._enter(Entry(secrets.randbits(63), run, service, key, "sent", queries, 0, 0, cost, time.time()))

    def settle(self, entry: Entry, tokens: int, output_tokens: int, cost: int) -> None:
        """The request was answered."""
        has = self._of(entry.run)
        self._spent[entry.run] = has._replace(cost=has.cost + cost - entry.cost)
        self._enter(entry._replace(state="answered", tokens=tokens, output_tokens=output_tokens, cost=cost))

    def lose(self, entry: Entry) -> None:
        """The request brought nothing, and may have been charged."""
        self._enter(entry._replace(state="lost"))

    def refuse(self, entry: Entry) -> None:
        """The service turned the request away: it costs nothing."""
        has = self._of(entry.run)
        self._spent[entry.run] = Spent(has.queries - entry.queries, has.requests - 1, has.cost - entry.cost)
        self._gone.append(entry.id)

    def close(self) -> None:
        """Writes all that is new, in as few statements as can be: each one lets other threads go first."""
        insert(self._connection, "REPLACE INTO requests", list(self._entries.values()))
        insert(self._connection, "REPLACE INTO spent", [(run, *spent) for run, spent in self._spent.items()])
        self._connection.executemany("DELETE FROM requests WHERE id = ?", [(one,) for one in self._gone])

    def _enter(self, entry: Entry) -> Entry:
        self._entries[entry.id] = entry
        return entry

    def _of(self, run: str) -> Spent:
        if run not in self._spent:
            self._spent[run] = spent(self._connection, run)
        return self._spent[run]


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]]) -> None:
    """Many rows in a statement."""
    for start in range(0, len(rows), MOST_ROWS):
        some = rows[start : start + MOST_ROWS]
        marks = f"({','.join('?' * len(some[0]))})"
        connection.execute(f"{into} VALUES {','.join([marks] * len(some))}", [value for row in some for value in row])


def spent(connection: sqlite3.Connection, run: str) -> Spent:
    """See `Spent`."""
    row = connection.execute("SELECT queries, requests, cost FROM spent WHERE run = ?", (run,)).fetchone()
    return Spent(*row) if row else Spent()


def paid(connection: sqlite3.Connection, run: str) -> Paid:
    """See `Paid`."""
    sums = "SUM(queries), COUNT(*), SUM(tokens), SUM(output_tokens), SUM(cost)"
    row = connection.execute(f"SELECT {sums} FROM requests WHERE run = ? AND state = 'answered'", (run,)).fetchone()
    return Paid(*(value or 0 for value in row))


def _too_much(name: str, limit: int, spent: int) -> BudgetError:
    shown = (f"{limit * 1e-9:g}", f"{spent * 1e-9:g} dollars") if name == "cost" else (f"{limit:,}", f"{spent:,}")
    return BudgetError(
        f"max_{name}={shown[0]} does not allow another request: {shown[1]} are spent, requests whose answers got lost "
        f"included; nothing is lost: go on with --resume and a higher --max-{name}"
    )
