"""Temporary folders that bear their owner's process id, so that a later run can remove what a killed one left."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path


def temporary_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when its context ends, and at the next `sweep_folders` when we are killed before."""
    return tempfile.TemporaryDirectory(prefix=f"{prefix}-{os.getpid()}-")


def sweep_folders(*prefixes: str, parent: Path | None = None) -> list[str]:
    """Remove our folders whose owner is gone; returns their names."""
    removed = []
    for prefix in prefixes:
        for folder in (parent or Path(tempfile.gettempdir())).glob(f"{prefix}-*"):
            owner = re.fullmatch(rf"{re.escape(prefix)}-(\d+)-\w+", folder.name)
            if owner is None or folder.is_symlink() or _lives(int(owner[1])) or folder.stat().st_uid != os.geteuid():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return sorted(removed)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
