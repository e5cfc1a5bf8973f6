"""For programs that hand requests over and go: a camera's script, a cron job.

from stageline import hand_over

hand_over("/var/spool/cats", "cats", "door.jpg")
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Final

from schemas.base import check_name
from stageline.inputs import FileContent
from stageline.journal.intake import check, read_file
from stageline.journal.records import Handover
from stageline.journal.store import Journal

DEADLINE_S: Final = 86_400.0


def new_request() -> str:
    """A request's name that sorts by time and is nobody else's."""
    return f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(5)}"


def hand_over(
    journal: Path | str,
    deployment: str,
    given: Path | str | FileContent,
    *,
    deadline_s: float = DEADLINE_S,
    request: str | None = None,
) -> str:
    """Put one request on disk, for `stageline gateway` to deliver; it is there for good when this returns.

    Args:
        journal: the journal's folder; made when there is none.
        deployment: which is to answer; it may be served later.
        given: a picture, .npy or .npz file, by path or content.
        deadline_s: seconds from now by which it must be answered.
        request: its name. The same one again, with the same input, is no second request.

    Returns:
        The request's name, which its answer's file or topic has.

    Raises:
        stageline.journal.intake.UnfitFileError: no file that a model could be given.
        stageline.journal.trouble.JournalError: the journal is full, held, damaged, or knows that name otherwise.
        schemas.base.InvalidNameError: a name that no topic or file can have.
    """
    name = check_name("request", request or new_request())
    if isinstance(given, FileContent):
        check(given)
        content = given
    else:
        content = read_file(Path(given))
    with Journal(Path(journal)) as opened:
        opened.hand_over([Handover(name, check_name("deployment", deployment), content, time.time() + deadline_s)])
    return name
