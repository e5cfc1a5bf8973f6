"""The journal on disk: one sqlite file, so that every step is either taken for good or not at all.

    open -> arriving -> shown
    open -> aside -> arriving, in a later life of the gateway

`open`: handed over; the input is kept. `arriving`: its outcome is kept, and is being shown somewhere; from here on it
cannot change. `shown`: done. `aside`: the outcome is kept, but cannot be shown until somebody mends something. WAL
with synchronous FULL: what a method has returned from survives a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from schemas.gateway import Delivered
from stageline.inputs import FileContent
from stageline.journal.records import Failure, Handover, OpenRequest, Outcome, SetAside, Tally
from stageline.journal.tables import prepare
from stageline.journal.trouble import JournalError, JournalFullError, SameRequestError, told

DATABASE: Final = "journal.db"
DEFAULT_MOST_BYTES: Final = 2_000_000_000
_BUSY_S: Final = 10.0


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
                self.name = prepare(self._db, path)
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
        said = [(one.deployment, hashlib.sha256(one.content.data).digest()) for one in requests]
        fresh: dict[str, tuple[Handover, bytes]] = {}
        added = []
        with self._transaction() as db:
            known: dict[str, tuple[str, bytes]] = {}
            for one, (deployment, digest) in zip(requests, said, strict=True):
                there = known.get(one.request) or db.execute(
                    "SELECT deployment, digest FROM requests WHERE request = ?", (one.request,)
                ).fetchone()  # fmt: skip
                if there is not None and there != (deployment, digest):
                    raise SameRequestError(one.request)
                added.append(there is None)
                known[one.request] = (deployment, digest)
                if there is None:
                    fresh[one.request] = (one, digest)
            self._check_room(db, sum(len(one.content.data) for one, _ in fresh.values()))
            for one, digest in fresh.values():
                number = db.execute(
                    "INSERT INTO requests (request, deployment, name, digest, nbytes, handed_over, deadline) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (one.request, one.deployment, one.content.name, digest, len(one.content.data), now, one.deadline),
                ).lastrowid
                db.execute("INSERT INTO contents VALUES (?, ?)", (number, one.content.data))
        return added

    def _check_room(self, db: sqlite3.Connection, more: int) -> None:
        (used,) = db.execute("SELECT coalesce(sum(nbytes), 0) FROM requests WHERE nbytes > 0").fetchone()
        if more and used + more > self._most_bytes:
            raise JournalFullError(
                f"{used / 1e6:.0f} MB wait in the journal {self.folder} and {more / 1e6:.1f} MB more do not fit "
                f"its {self._most_bytes / 1e6:.0f} MB: is its gateway running? `stageline gateway --journal ...`"
            )

    # --- delivering --------------------------------------------------------------------------------------------------
    def waiting(self) -> set[str]:
        """Deployments with open requests."""
        # From each name to the next, by the index: DISTINCT would pass over every request, ten times a second.
        rows = self._read(
            "WITH RECURSIVE named(deployment) AS ("
            "SELECT min(deployment) FROM requests WHERE state = 'open' UNION ALL "
            "SELECT (SELECT min(deployment) FROM requests WHERE state = 'open' AND deployment > named.deployment) "
            "FROM named WHERE deployment IS NOT NULL) "
            "SELECT deployment FROM named WHERE deployment IS NOT NULL"
        )
        return {name for (name,) in rows}

    def next_open(self, deployment: str, after: int) -> OpenRequest | None:
        """The first open request of a deployment behind that number."""
        rows = self._read(
            "SELECT number, request, deployment, name, data, handed_over, deadline, tries "
            "FROM requests JOIN contents USING (number) "
            "WHERE state = 'open' AND deployment = ? AND number > ? ORDER BY number LIMIT 1",
            (deployment, after),
        )
        for row in rows:
            return _open_request(row)
        return None

    def overdue(self, deployment: str, unix_time: float, most: int) -> list[OpenRequest]:
        """Open requests of a deployment with a deadline before that; without their inputs."""
        rows = self._read(
            "SELECT number, request, deployment, name, x'', handed_over, deadline, tries FROM requests "
            "WHERE state = 'open' AND deployment = ? AND deadline <= ? ORDER BY deadline LIMIT ?",
            (deployment, unix_time, most),
        )
        return [_open_request(row) for row in rows]

    def failed_once(self, request: str) -> None:
        """A delivery failed, perhaps by the request's own fault: remembered over restarts."""
        with self._transaction() as db:
            db.execute("UPDATE requests SET tries = tries + 1 WHERE request = ?", (request,))

    def resolve(self, outcomes: Iterable[Outcome], place: str) -> list[Outcome]:
        """These are the requests' outcomes for good, to be shown at `place`; returns those that had none before."""
        with self._transaction() as db:
            return [one for one in outcomes if _conclude(db, one, "arriving", place=place)]

    def set_aside(self, outcomes: Iterable[tuple[Outcome, str]]) -> None:
        """These are kept, but cannot be shown now, for that reason; `next_aside` brings them back."""
        with self._transaction() as db:
            for one, why in outcomes:
                _conclude(db, one, "aside", why=why)

    def next_aside(self, after: int) -> tuple[int, Outcome] | None:
        """The first outcome behind that number that was set aside, and its own number."""
        rows = self._read(
            "SELECT number, document, data FROM requests LEFT JOIN contents USING (number) "
            "WHERE state = 'aside' AND number > ? ORDER BY number LIMIT 1",
            (after,),
        )
        for number, text, outputs in rows:
            return number, _outcome(text, outputs)
        return None

    def arriving(self) -> list[tuple[str, Outcome]]:
        """Outcomes that somebody began to show, each with its place."""
        rows = self._read(
            "SELECT place, document, data FROM requests LEFT JOIN contents USING (number) "
            "WHERE state = 'arriving' ORDER BY number"
        )
        return [(place, _outcome(text, outputs)) for place, text, outputs in rows]

    def shown(self, requests: Iterable[str]) -> None:
        """Their outcomes are where they belong: only a line about each is kept."""
        now = time.time()
        with self._transaction() as db:
            for request in requests:
                changed = db.execute(
                    "UPDATE requests SET state = 'shown', nbytes = 0, shown_at = ?, "
                    "document = CASE WHEN failed THEN document END WHERE request = ? AND state = 'arriving'",
                    (now, request),
                )
                if changed.rowcount:
                    _keep(db, request, b"")

    def forget_before(self, unix_time: float) -> int:
        """Remove the lines about what was shown before that; their ids may then be used again. Returns how many."""
        with self._transaction() as db:
            return db.execute("DELETE FROM requests WHERE state = 'shown' AND shown_at < ?", (unix_time,)).rowcount

    # --- looking -----------------------------------------------------------------------------------------------------
    def tallies(self) -> list[Tally]:
        """How far the requests of each deployment are."""
        rows = self._read(
            "SELECT deployment, sum(state = 'open'), sum(state = 'aside'), sum(state = 'arriving'), "
            "sum(state = 'shown' AND NOT failed), sum(state = 'shown' AND failed), sum(nbytes), "
            "min(CASE WHEN state = 'open' THEN handed_over END) FROM requests GROUP BY deployment ORDER BY deployment"
        )
        return [Tally(*row) for row in rows]

    def failures(self, most: int) -> list[Failure]:
        """The latest requests that failed, newest first."""
        rows = self._read(
            "SELECT document FROM requests WHERE failed AND state != 'aside' ORDER BY number DESC LIMIT ?", (most,)
        )
        said = [Delivered.model_validate_json(text) for (text,) in rows]
        return [Failure(one.request, one.deployment, one.name, one.reason, one.detail) for one in said]

    def asides(self, most: int) -> list[SetAside]:
        """Requests whose outcome cannot be shown, oldest first."""
        rows = self._read(
            "SELECT request, deployment, name, why_aside FROM requests WHERE state = 'aside' ORDER BY number LIMIT ?",
            (most,),
        )
        return [SetAside(*row) for row in rows]

    # --- inside ------------------------------------------------------------------------------------------------------
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


def _conclude(
    db: sqlite3.Connection, one: Outcome, state: Literal["arriving", "aside"], *, place: str = "", why: str = ""
) -> bool:
    """Keep its outcome instead of its input, unless it has one that is being shown; whether it was so."""
    changed = db.execute(
        "UPDATE requests SET state = ?, place = ?, failed = ?, document = ?, nbytes = ?, why_aside = ? "
        "WHERE request = ? AND state IN ('open', 'aside')",
        (
            state, place, one.delivered.state == "failed", one.delivered.model_dump_json(), len(one.outputs), why,
            one.request,
        ),
    )  # fmt: skip
    if changed.rowcount:
        _keep(db, one.request, one.outputs)
    return bool(changed.rowcount)


def _keep(db: sqlite3.Connection, request: str, data: bytes) -> None:
    """In place of what was kept for that request; nothing where it is empty."""
    if data:
        db.execute("REPLACE INTO contents SELECT number, ? FROM requests WHERE request = ?", (data, request))
    else:
        db.execute("DELETE FROM contents WHERE number = (SELECT number FROM requests WHERE request = ?)", (request,))


def _open_request(row: Sequence[Any]) -> OpenRequest:
    number, request, deployment, file, data, handed_over, deadline, tries = row
    return OpenRequest(number, request, deployment, FileContent(file, data), handed_over, deadline, tries)


def _outcome(text: str, outputs: bytes | None) -> Outcome:
    return Outcome(Delivered.model_validate_json(text), outputs or b"")
