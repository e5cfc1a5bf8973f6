"""What `stageline doctor` looks at on this machine, and how to mend what it finds."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from broker.embedded import MosquittoMissingError, find_mosquitto

Status = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and what would mend it."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def check_machine(library: Path) -> list[Check]:
    """What can be said of this machine without a broker."""
    return [
        _python(),
        _package("onnxruntime", "workers compute with it: pip install onnxruntime"),
        _mosquitto(),
        _folder(library),
    ]


def _python() -> Check:
    return Check(
        "python", "ok", f"{platform.python_version()} on {platform.machine()}, stageline {version('stageline')}"
    )


def _package(name: str, mend: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "warn", "not installed", mend)


def _mosquitto() -> Check:
    try:
        path = find_mosquitto()
    except MosquittoMissingError as error:
        return Check("mosquitto", "warn", "not installed; only a hub and the demo need it", str(error))
    done = subprocess.run([path, "-h"], capture_output=True, text=True, check=False)
    return Check("mosquitto", "ok", f"{(done.stdout or done.stderr).splitlines()[0]} ({path})")


def _folder(library: Path) -> Check:
    there = next(parent for parent in (library, *library.parents) if parent.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return Check("library", "ok", str(library))
    mend = f"only a hub needs it: choose another with STAGELINE_LIBRARY, or make {there} yours"
    return Check("library", "warn", f"{library} cannot be written", mend)
