"""A process beside ours: when ours is killed, it ends the devices left behind and removes their control groups.

The kernel ends processes tied to us by itself (`broker.children.tied_to_us`), but not one that was stopped before it
could tie itself, none that another thread started, and it removes no control group. The caretaker waits at the end of
a pipe that breaks when we are gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from stageline.emulation.cgroups import end_groups_of

_MARK: Final = "STAGELINE_CARETAKER"
_ALL_IS_WELL: Final = b"all is well"
_TIMEOUT_S: Final = 5.0


@contextmanager
def caretaker() -> Iterator[None]:
    """While inside, our control groups and the processes that have our `mark` go when we do, also when killed."""
    # A session of its own: whoever ends our whole process group must not end it too.
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(os.getpid())], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        process.communicate(_ALL_IS_WELL)


def mark() -> dict[str, str]:
    """What the environment of a process must hold for our caretaker to end it; its children inherit it."""
    return {_MARK: str(os.getpid())}


def main() -> None:
    """Wait until the pipe breaks; unless all was well, clear away what is left."""
    if sys.stdin.buffer.read() != _ALL_IS_WELL:
        _end_marked(int(sys.argv[1]))
        end_groups_of(int(sys.argv[1]))


def _end_marked(owner: int) -> None:
    """SIGKILL, again and again: a process may start another between our look and our signal."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline and (pids := _marked(owner)):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(owner: int) -> list[int]:
    entry = f"{_MARK}={owner}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It ended meanwhile, or is somebody else's.
            if entry in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


if __name__ == "__main__":
    main()
