"""Any program under a device's quota: what peers are measured with, and a model alone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final

from broker.children import end, tied_to_us
from stageline.emulation.caretaker import caretaker, mark
from stageline.emulation.limiter import limit

_numbers: Final = count()


@contextmanager
def confined(
    command: Sequence[str],
    *,
    cores: float,
    memory_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
    name: str = "confined",
) -> Iterator[subprocess.Popen[str]]:
    """Run a program under a CPU quota and a memory limit, with all that it starts; ended when left, or we are killed.

    Its input and output are pipes of text; its errors go where ours go.

    Args:
        command: the program and its arguments.
        cores: CPU that it may use, in cores.
        memory_bytes: what it may hold; None: no limit. Not enforced where there are no control groups.
        environment: added to ours.
        name: for its control group, as people see it.
    """
    with caretaker():
        limiter = limit(f"{name}-{next(_numbers)}", cores, memory_bytes)
        try:
            process = subprocess.Popen(
                [*tied_to_us(signal.SIGKILL), *limiter.entering(), *command],
                env={**os.environ, **(environment or {}), **mark()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            with process:
                try:
                    limiter.add(process.pid)
                    yield process
                finally:
                    end(process)
        finally:
            limiter.release()
