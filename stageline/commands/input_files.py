"""The files that a command is to send: those named, and what folders hold."""

from __future__ import annotations

from pathlib import Path

from models.pictures import is_picture
from stageline.commands.conduct import MendError
from stageline.inputs import is_array_file


def find_files(paths: list[Path]) -> list[Path]:
    """The files that are named, and in folders what looks like a picture or an array, in order of name.

    Raises:
        MendError: nothing there, or not what was named.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise MendError(f"no such file or folder: {', '.join(map(str, missing))}")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.is_file() and (is_picture(one) or is_array_file(one)))
        else:
            found.append(path)
    if not found:
        raise MendError(f"no pictures or arrays in {', '.join(map(str, paths))}")
    return found
