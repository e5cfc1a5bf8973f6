"""A process beside ours: when ours is killed, it ends the devices left behind and removes their control groups.

The kernel ends processes tied to us by itself (`broker.children.tied_to_us`), but it removes no control group, and
it ties nothing that another thread started. The caretaker waits at the end of a pipe that breaks when we are gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from stageline.emulation.cgroups import end_groups_of

_ALL_IS_WELL: Final = b"all is well"


@contextmanager
def caretaker() -> Iterator[None]:
    """While inside, this process's control groups are cleared away even when it is killed."""
    # A session of its own: whoever ends our whole process group must not end it too.
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(os.getpid())], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        process.communicate(_ALL_IS_WELL)


def main() -> None:
    """Wait until the pipe breaks; unless all was well, clear away what is left."""
    if sys.stdin.buffer.read() != _ALL_IS_WELL:
        end_groups_of(int(sys.argv[1]))


if __name__ == "__main__":
    main()
