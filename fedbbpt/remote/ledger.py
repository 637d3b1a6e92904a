"""The book of requests: what a run has spent, and whether it may spend more. Functions of a connection to the store."""

import sqlite3
import time
from typing import NamedTuple

from fedbbpt.errors import BudgetError

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, service TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
  queries INTEGER NOT NULL, tokens INTEGER NOT NULL, written INTEGER NOT NULL, cost INTEGER NOT NULL, at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS of_run ON requests (run, state);
CREATE TABLE IF NOT EXISTS spent (
  run TEXT PRIMARY KEY, queries INTEGER NOT NULL, calls INTEGER NOT NULL, cost INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Limits(NamedTuple):
    """What a run may spend at most; None is no limit."""

    queries: int | None = None
    calls: int | None = None
    cost: int | None = None  # 10⁻⁹ dollars


class Account(NamedTuple):
    """Who pays, and how much at most; nobody's has no limits."""

    run: str = ""
    limits: Limits = Limits()


class Spent(NamedTuple):
    """What a run has spent. Requests that brought no answer, or of which nothing is known yet, count in full."""

    queries: int = 0
    calls: int = 0
    cost: int = 0  # 10⁻⁹ dollars: of answers what they cost, of the others the most it can be


class Paid(NamedTuple):
    """What a run's answers took, without requests that brought none."""

    queries: int = 0
    calls: int = 0
    tokens: int = 0
    written: int = 0
    cost: int = 0  # 10⁻⁹ dollars


def reserve(
    connection: sqlite3.Connection, run: str, limits: Limits, service: str, key: str, queries: int, cost: int
) -> int:
    """Notes that a request is about to be sent; its number.

    Raises:
        BudgetError: with it, the run could spend more than it may.
    """
    has = spent(connection, run)
    after = Spent(has.queries + queries, has.calls + 1, has.cost + cost)
    for name, limit, would, before in zip(Limits._fields, limits, after, has, strict=True):
        if limit is not None and would > limit:
            raise _too_much(name, limit, before)
    connection.execute("INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?)", (run, *after))
    row = (run, service, key, "sent", queries, 0, 0, cost, time.time())
    return int(connection.execute(f"INSERT INTO requests VALUES (NULL{',?' * 9})", row).lastrowid or 0)


def settle(connection: sqlite3.Connection, number: int, tokens: int, written: int, cost: int) -> None:
    """The request was answered."""
    run, _, _, reserved = _request(connection, number)
    connection.execute("UPDATE spent SET cost = cost + ? WHERE run = ?", (cost - reserved, run))
    connection.execute(
        "UPDATE requests SET state = 'answered', tokens = ?, written = ?, cost = ? WHERE id = ?",
        (tokens, written, cost, number),
    )


def lose(connection: sqlite3.Connection, number: int) -> None:
    """The request brought nothing, and may have been charged."""
    connection.execute("UPDATE requests SET state = 'lost' WHERE id = ?", (number,))


def refuse(connection: sqlite3.Connection, number: int) -> None:
    """The service turned the request away: it costs nothing."""
    run, *back = _request(connection, number)
    connection.execute(
        "UPDATE spent SET queries = queries - ?, calls = calls - ?, cost = cost - ? WHERE run = ?", (*back, run)
    )
    connection.execute("DELETE FROM requests WHERE id = ?", (number,))


def spent(connection: sqlite3.Connection, run: str) -> Spent:
    """See `Spent`."""
    row = connection.execute("SELECT queries, calls, cost FROM spent WHERE run = ?", (run,)).fetchone()
    return Spent(*row) if row else Spent()


def paid(connection: sqlite3.Connection, run: str) -> Paid:
    """See `Paid`."""
    sums = "SUM(queries), COUNT(*), SUM(tokens), SUM(written), SUM(cost)"
    row = connection.execute(f"SELECT {sums} FROM requests WHERE run = ? AND state = 'answered'", (run,)).fetchone()
    return Paid(*(value or 0 for value in row))


def _request(connection: sqlite3.Connection, number: int) -> tuple[str, int, int, int]:
    """Of a request: its run, and what was reserved: queries, calls, cost."""
    row: tuple[str, int, int, int] = connection.execute(
        "SELECT run, queries, 1, cost FROM requests WHERE id = ?", (number,)
    ).fetchone()
    return row


def _too_much(name: str, limit: int, spent: int) -> BudgetError:
    shown = (f"{limit * 1e-9:g}", f"{spent * 1e-9:g} dollars") if name == "cost" else (f"{limit:,}", f"{spent:,}")
    return BudgetError(
        f"max_{name}={shown[0]} does not allow another request: {shown[1]} are spent, requests whose answers got lost "
        f"included; nothing is lost: go on with --resume and a higher --max-{name}"
    )
