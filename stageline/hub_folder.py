"""Whether mosquitto, run by root, can reach a hub's folder: it becomes a user of its own."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

from stageline.credentials import CredentialsError
from stageline.hub_files import BROKER_USER
from stageline.settings import HUB_DIR_OF_ROOT


class ClosedFolderError(CredentialsError):
    """mosquitto could not reach the hub's files."""

    def __init__(self, closed: Path) -> None:
        super().__init__(
            f"run by root, mosquitto becomes the user {BROKER_USER!r}, who cannot enter {closed} and so could not "
            f"read the hub's files. Keep them elsewhere: --hub-dir {HUB_DIR_OF_ROOT} (for hub --init, invite and hub)"
        )


def check_reachable(folder: Path) -> None:
    """Whether mosquitto, run by us, can enter a folder that its files lie in.

    Raises:
        ClosedFolderError: we are root, whose rights mosquitto gives up, and it cannot.
    """
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(BROKER_USER)
    except KeyError:
        return  # No such user: mosquitto is not installed system-wide, and runs as whoever starts it.
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    if (closed := first_closed(folder, user.pw_uid, groups)) is not None:
        raise ClosedFolderError(closed)


def first_closed(folder: Path, uid: int, gids: Collection[int]) -> Path | None:
    """The outermost folder on the way into that one, itself included, which a user may not enter; None: all are open.

    What does not exist yet counts as open.
    """
    inside = folder.resolve()
    for step in (*reversed(inside.parents), inside):
        if not step.exists():
            return None
        status = step.stat()
        others = stat.S_IXGRP if status.st_gid in gids else stat.S_IXOTH
        if not status.st_mode & (stat.S_IXUSR if status.st_uid == uid else others):
            return step
    return None
