"""The journal on disk: one sqlite file, so that every step is either taken for good or not at all.

    open -> arriving -> shown

`open`: handed over; the input is kept. `arriving`: its outcome is kept, and is being shown somewhere; from here on it
cannot change. `shown`: done. WAL with synchronous FULL: what a method has returned from survives a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from schemas.gateway import Delivered
from stageline.inputs import FileContent
from stageline.journal.records import Failure, Handover, OpenRequest, Outcome, Tally
from stageline.journal.trouble import JournalError, JournalFullError, SameRequestError, told

DATABASE: Final = "journal.db"
DEFAULT_MOST_BYTES: Final = 2_000_000_000
_VERSION: Final = 1
_APPLICATION: Final = 0x5374676C
_BUSY_S: Final = 10.0
_TABLES: Final = """
CREATE TABLE journal (name TEXT NOT NULL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL UNIQUE,
    deployment TEXT NOT NULL,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    input BLOB,
    nbytes INTEGER NOT NULL,
    handed_over REAL NOT NULL,
    deadline REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'arriving', 'shown')),
    place TEXT NOT NULL DEFAULT '',
    failed INTEGER NOT NULL DEFAULT 0,
    document TEXT,
    outputs BLOB,
    shown_at REAL
);
CREATE INDEX open_requests ON requests (deployment, number) WHERE state = 'open';
CREATE INDEX arriving_requests ON requests (number) WHERE state = 'arriving';
"""


class Journal:
    """Open with `with Journal(folder)`. May be used by several threads; by several processes too, each with its own.

    Args:
        folder: made when there is none.
        must_exist: say so instead.
        most_bytes: of inputs that wait and outcomes that arrive, in all; beyond it hand-overs are refused.

    Raises:
        JournalError: see the message. Every method may, and leaves the journal as it was.
    """

    def __init__(self, folder: Path, *, must_exist: bool = False, most_bytes: int = DEFAULT_MOST_BYTES) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        path = folder / DATABASE
        if must_exist and not path.exists():
            raise JournalError(f"there is no journal in {folder}: `stageline submit --journal {folder} ...` begins one")
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                (self.name,) = self._db.execute("SELECT name FROM journal").fetchone()
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock, told(self.folder):
            self._db.close()

    # --- handing over ------------------------------------------------------------------------------------------------
    def hand_over(self, requests: Sequence[Handover]) -> list[bool]:
        """Take these in, all or none; on disk when this returns. False: it was there already, the very same.

        Raises:
            JournalFullError: too many bytes wait already, or the disk is full.
            SameRequestError: an id that stands for another request.
        """
        now = time.time()
        added = []
        with self._transaction() as db:
            (used,) = db.execute(
                "SELECT coalesce(sum(nbytes + coalesce(length(outputs), 0)), 0) FROM requests WHERE state != 'shown'"
            ).fetchone()
            more = sum(len(one.content.data) for one in requests)
            if used + more > self._most_bytes:
                raise JournalFullError(
                    f"{used / 1e6:.0f} MB wait in the journal {self.folder} and {more / 1e6:.1f} MB more do not fit "
                    f"its {self._most_bytes / 1e6:.0f} MB: is its gateway running? `stageline gateway --journal ...`"
                )
            for one in requests:
                digest = hashlib.sha256(one.content.data).digest()
                there = db.execute(
                    "SELECT deployment, digest FROM requests WHERE request = ?", (one.request,)
                ).fetchone()
                if there is not None and there != (one.deployment, digest):
                    raise SameRequestError(one.request)
                added.append(there is None)
                if there is None:
                    db.execute(
                        "INSERT INTO requests (request, deployment, name, digest, input, nbytes, handed_over, deadline)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            one.request, one.deployment, one.content.name, digest, one.content.data,
                            len(one.content.data), now, one.deadline,
                        ),
                    )  # fmt: skip
        return added

    # --- delivering --------------------------------------------------------------------------------------------------
    def waiting(self) -> set[str]:
        """Deployments with open requests."""
        return {name for (name,) in self._read("SELECT DISTINCT deployment FROM requests WHERE state = 'open'")}

    def next_open(self, deployment: str, after: int) -> OpenRequest | None:
        """The first open request of a deployment behind that number."""
        rows = self._read(
            "SELECT number, request, deployment, name, input, handed_over, deadline, tries FROM requests "
            "WHERE state = 'open' AND deployment = ? AND number > ? ORDER BY number LIMIT 1",
            (deployment, after),
        )
        for number, request, name, file, data, handed_over, deadline, tries in rows:
            return OpenRequest(number, request, name, FileContent(file, data), handed_over, deadline, tries)
        return None

    def failed_once(self, request: str) -> None:
        """A delivery failed, perhaps by the request's own fault: remembered over restarts."""
        with self._transaction() as db:
            db.execute("UPDATE requests SET tries = tries + 1 WHERE request = ?", (request,))

    def resolve(self, outcomes: Iterable[Outcome], place: str) -> list[Outcome]:
        """These are the requests' outcomes for good, to be shown at `place`; returns those that had none before."""
        fresh = []
        with self._transaction() as db:
            for one in outcomes:
                document = one.delivered.model_dump_json()
                changed = db.execute(
                    "UPDATE requests SET state = 'arriving', place = ?, failed = ?, document = ?, outputs = ?, "
                    "input = NULL, nbytes = 0 WHERE request = ? AND state = 'open'",
                    (place, one.delivered.state == "failed", document, one.outputs, one.request),
                )
                if changed.rowcount:
                    fresh.append(one)
        return fresh

    def arriving(self) -> list[tuple[str, Outcome]]:
        """Outcomes that somebody began to show, each with its place."""
        rows = self._read("SELECT place, document, outputs FROM requests WHERE state = 'arriving' ORDER BY number")
        return [(place, Outcome(Delivered.model_validate_json(text), outputs)) for place, text, outputs in rows]

    def shown(self, requests: Iterable[str]) -> None:
        """Their outcomes are where they belong: only a line about each is kept."""
        now = time.time()
        with self._transaction() as db:
            db.executemany(
                "UPDATE requests SET state = 'shown', outputs = NULL, shown_at = ?, "
                "document = CASE WHEN failed THEN document END WHERE request = ? AND state = 'arriving'",
                [(now, request) for request in requests],
            )

    def forget_before(self, unix_time: float) -> int:
        """Remove the lines about what was shown before that; their ids may then be used again. Returns how many."""
        with self._transaction() as db:
            return db.execute("DELETE FROM requests WHERE state = 'shown' AND shown_at < ?", (unix_time,)).rowcount

    # --- looking -----------------------------------------------------------------------------------------------------
    def tallies(self) -> list[Tally]:
        """How far the requests of each deployment are."""
        rows = self._read(
            "SELECT deployment, sum(state = 'open'), sum(state = 'arriving'), sum(state = 'shown' AND NOT failed), "
            "sum(state = 'shown' AND failed), sum(nbytes), min(CASE WHEN state = 'open' THEN handed_over END) "
            "FROM requests GROUP BY deployment ORDER BY deployment"
        )
        return [Tally(*row) for row in rows]

    def failures(self, most: int) -> list[Failure]:
        """The latest requests that failed, newest first."""
        rows = self._read(
            "SELECT document FROM requests WHERE failed AND document IS NOT NULL ORDER BY number DESC LIMIT ?", (most,)
        )
        said = [Delivered.model_validate_json(text) for (text,) in rows]
        return [Failure(one.request, one.deployment, one.name, one.reason, one.detail) for one in said]

    # --- inside ------------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        db = self._db
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
                self._check_known(version)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _check_known(self, version: int) -> None:
        if version != _VERSION or self._db.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
            raise JournalError(
                f"{self.folder / DATABASE} is no journal that this version of Stageline knows: name another folder"
            )

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, told(self.folder):
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside happens, or nothing."""
        with self._lock, told(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
