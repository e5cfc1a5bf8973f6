"""What can be wrong with a journal, in words that say what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from services.lifecycle import OperatorError


class JournalError(OperatorError):
    """The journal cannot be used as it is; the message says why and what to do. What is in it stays as it was."""


class JournalFullError(JournalError):
    """No room for what is handed over; nothing of it was accepted."""


class SameRequestError(JournalError):
    """A request id that the journal knows, with another input or for another deployment."""

    def __init__(self, request: str) -> None:
        super().__init__(f"request {request!r} is in the journal already, with another input: choose another --id")


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turns what sqlite and the file system say into a `JournalError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(_words(folder, error)) from error
    except OSError as error:
        raise JournalError(f"the journal {folder} cannot be used: {error.strerror or error}") from error


def _words(folder: Path, error: sqlite3.Error) -> str:
    said = str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"no room on the disk of the journal {folder}: free some, then go on; nothing was lost ({said})"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the journal {folder} is held by another program; wait for it or end it, then try again ({said})"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"the journal {folder} is damaged ({said}). Move the folder away and start another; `sqlite3 journal.db "
            ".recover` in the old one may bring back what was in it"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"the journal {folder} cannot be written: check who owns the folder ({said})"
    return f"the journal {folder} cannot be used: {said}"
