"""The ledger of requests: what each run has spent, and whether it may spend more."""

import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from fedbbpt.errors import BudgetError

ROWS_PER_STATEMENT = 90  # a statement may hold 999 values


class Budget(NamedTuple):
    """What a run may spend at most; None is no limit."""

    queries: int | None = None
    requests: int | None = None
    cost: int | None = None  # nanodollars


class Account(NamedTuple):
    """The run that pays, and its budget; by default nobody in particular, without limits."""

    run: str = ""
    budget: Budget = Budget()


class ReservedUsage(NamedTuple):
    """What a run has spent, as its budget sees it: requests in flight or lost count in full."""

    queries: int = 0
    requests: int = 0
    cost: int = 0  # nanodollars: what answered requests cost, and the most that the others can have cost


class BilledUsage(NamedTuple):
    """What a run's answered requests took."""

    queries: int = 0
    requests: int = 0
    tokens: int = 0
    output_tokens: int = 0
    cost: int = 0  # nanodollars


class LedgerEntry(NamedTuple):
    """One request."""

    id: int
    run: str
    service: str
    key: str
    state: str  # "sent", "answered", or "lost": no answer came, and it may have been charged
    queries: int
    tokens: int
    output_tokens: int
    cost: int  # nanodollars; the maximum, until it is answered
    at: float  # seconds since the epoch


class Ledger:
    """The ledger within one SQLite transaction: totals are read on demand, changes are written by `flush`.

    A request is reserved at its maximal cost before it is sent, and then committed, released or marked as lost:

    >>> import sqlite3
    >>> from fedbbpt.services import schema
    >>> connection = sqlite3.connect(":memory:", isolation_level=None)
    >>> schema.create(connection)
    >>> ledger = Ledger(connection)
    >>> budget = Budget(cost=10)
    >>> entry = ledger.reserve("run", budget, "service", "key", queries=1, cost=8)
    >>> ledger.reserve("run", budget, "service", "another", queries=1, cost=8)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    fedbbpt.errors.BudgetError: max_cost=1e-08 does not allow another request: 8e-09 dollars are spent, ...
    >>> ledger.commit(entry, tokens=5, output_tokens=1, cost=2)
    >>> other = ledger.reserve("run", budget, "service", "another", queries=1, cost=8)
    >>> ledger.mark_lost(other)
    >>> ledger.flush()
    >>> reserved_usage(connection, "run")
    ReservedUsage(queries=2, requests=2, cost=10)
    >>> billed_usage(connection, "run")
    BilledUsage(queries=1, requests=1, tokens=5, output_tokens=1, cost=2)
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._reserved: dict[str, ReservedUsage] = {}
        self._entries: dict[int, LedgerEntry] = {}
        self._released: list[int] = []

    def reserve(self, run: str, budget: Budget, service: str, key: str, queries: int, cost: int) -> LedgerEntry:
        """Records that a request of `queries` inputs, which can cost `cost` nanodollars, is about to be sent.

        Raises:
            BudgetError: the run could then spend more than its budget. Nothing is recorded.
        """
        before = self._of(run)
        after = ReservedUsage(before.queries + queries, before.requests + 1, before.cost + cost)
        for name, limit, would, spent in zip(Budget._fields, budget, after, before, strict=True):
            if limit is not None and would > limit:
                raise _budget_error(name, limit, spent)
        self._reserved[run] = after
        entry = LedgerEntry(secrets.randbits(63), run, service, key, "sent", queries, 0, 0, cost, time.time())
        self._entries[entry.id] = entry
        return entry

    def commit(self, entry: LedgerEntry, tokens: int, output_tokens: int, cost: int) -> None:
        """Records that the request was answered, and what it cost."""
        reserved = self._of(entry.run)
        self._reserved[entry.run] = reserved._replace(cost=reserved.cost + cost - entry.cost)
        self._entries[entry.id] = entry._replace(
            state="answered", tokens=tokens, output_tokens=output_tokens, cost=cost
        )

    def mark_lost(self, entry: LedgerEntry) -> None:
        """Records that the request brought no answer, and may have been charged."""
        self._entries[entry.id] = entry._replace(state="lost")

    def release(self, entry: LedgerEntry) -> None:
        """Takes the reservation back: the request was not sent, or turned away, and costs nothing."""
        reserved = self._of(entry.run)
        self._reserved[entry.run] = ReservedUsage(
            reserved.queries - entry.queries, reserved.requests - 1, reserved.cost - entry.cost
        )
        self._released.append(entry.id)

    def flush(self) -> None:
        """Writes all changes, in as few statements as possible: each one lets other threads go first."""
        insert(self._connection, "REPLACE INTO requests", list(self._entries.values()))
        insert(self._connection, "REPLACE INTO spent", [(run, *usage) for run, usage in self._reserved.items()])
        self._connection.executemany("DELETE FROM requests WHERE id = ?", [(one,) for one in self._released])

    def _of(self, run: str) -> ReservedUsage:
        if run not in self._reserved:
            self._reserved[run] = reserved_usage(self._connection, run)
        return self._reserved[run]


def insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]) -> None:
    """Inserts rows, many per statement."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        some = rows[start : start + ROWS_PER_STATEMENT]
        marks = f"({','.join('?' * len(some[0]))})"
        values = [value for row in some for value in row]
        connection.execute(f"{statement} VALUES {','.join([marks] * len(some))}", values)


def reserved_usage(connection: sqlite3.Connection, run: str) -> ReservedUsage:
    """Reads a run's `ReservedUsage`."""
    row = connection.execute("SELECT queries, requests, cost FROM spent WHERE run = ?", (run,)).fetchone()
    return ReservedUsage(*row) if row else ReservedUsage()


def billed_usage(connection: sqlite3.Connection, run: str) -> BilledUsage:
    """Sums a run's `BilledUsage`."""
    sums = "SUM(queries), COUNT(*), SUM(tokens), SUM(output_tokens), SUM(cost)"
    row = connection.execute(f"SELECT {sums} FROM requests WHERE run = ? AND state = 'answered'", (run,)).fetchone()
    return BilledUsage(*(value or 0 for value in row))


def _budget_error(name: str, limit: int, spent: int) -> BudgetError:
    shown = (f"{limit * 1e-9:g}", f"{spent * 1e-9:g} dollars") if name == "cost" else (f"{limit:,}", f"{spent:,}")
    return BudgetError(
        f"max_{name}={shown[0]} does not allow another request: {shown[1]} are spent, lost requests included; nothing "
        f"is lost: go on with --resume and a higher --max-{name}"
    )
