"""The tables of a journal's file, and whether a file is one.

What is large lies in a table of its own: a sum, a count or a look at the others then reads none of it, however much
waits.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import Final

from stageline.journal.trouble import JournalError

_VERSION: Final = 2
_APPLICATION: Final = 0x5374676C
_TABLES: Final = """
CREATE TABLE journal (name TEXT NOT NULL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL UNIQUE,
    deployment TEXT NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    nbytes INTEGER NOT NULL,
    handed_over REAL NOT NULL,
    deadline REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'aside', 'arriving', 'shown')),
    place TEXT NOT NULL DEFAULT '',
    failed INTEGER NOT NULL DEFAULT 0,
    document TEXT,
    why_aside TEXT NOT NULL DEFAULT '',
    shown_at REAL
);
CREATE TABLE contents (number INTEGER PRIMARY KEY REFERENCES requests, data BLOB NOT NULL);
CREATE INDEX open_requests ON requests (deployment, number) WHERE state = 'open';
CREATE INDEX open_deadlines ON requests (deployment, deadline) WHERE state = 'open';
CREATE INDEX aside_requests ON requests (number) WHERE state = 'aside';
CREATE INDEX arriving_requests ON requests (number) WHERE state = 'arriving';
CREATE INDEX kept_bytes ON requests (nbytes) WHERE nbytes > 0;
"""
"""`contents`: the input while a request is open, then the outputs until they are shown; `nbytes` is their size."""


def prepare(db: sqlite3.Connection, path: Path) -> str:
    """Make the tables in a new file, or see that the file is a journal; returns the journal's name.

    Raises:
        JournalError: it is something else, or another version's.
    """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA journal_size_limit = 67108864")
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute("INSERT INTO journal VALUES (?)", (secrets.token_hex(6),))
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
        else:
            _check_known(db, version, path)
        (name,) = db.execute("SELECT name FROM journal").fetchone()
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return str(name)


def _check_known(db: sqlite3.Connection, version: int, path: Path) -> None:
    if version != _VERSION or db.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise JournalError(f"{path} is no journal that this version of Stageline knows: name another folder")
