"""Tables of the answer cache: answers, the responses that they were read from, and the ledger."""

import sqlite3

TABLES = """
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, service TEXT NOT NULL, scores BLOB NOT NULL,
  tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, unparsed INTEGER NOT NULL, at REAL NOT NULL, response TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS responses (
  key TEXT PRIMARY KEY, service TEXT NOT NULL, tenant TEXT NOT NULL, method TEXT NOT NULL, url TEXT NOT NULL,
  status INTEGER NOT NULL, headers TEXT NOT NULL, content BLOB NOT NULL, at REAL NOT NULL, expires REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, service TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL,
  queries INTEGER NOT NULL, tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
  at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS of_run ON requests (run, state);
CREATE TABLE IF NOT EXISTS spent (
  run TEXT PRIMARY KEY, queries INTEGER NOT NULL, requests INTEGER NOT NULL, cost INTEGER NOT NULL
) WITHOUT ROWID;
"""
RENAMED = (
    ("answers", "written", "output_tokens"),
    ("answers", "unmatched", "unparsed"),
    ("requests", "written", "output_tokens"),
    ("spent", "calls", "requests"),
)


def create(connection: sqlite3.Connection) -> None:
    """Creates the tables that are missing. Those of an earlier version keep their rows, which were paid for."""
    connection.execute("BEGIN IMMEDIATE")
    for table, before, now in RENAMED:
        if before in _columns(connection, table):
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {now}")
    if (columns := _columns(connection, "answers")) and "response" not in columns:
        connection.execute("ALTER TABLE answers ADD COLUMN response TEXT")
    connection.execute("COMMIT")
    connection.executescript(TABLES)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
