"""A service with a wrong wall clock, on a machine whose own clock is right.

    python -m bench.chaos.skewed_clock SKEW_FILE services.worker.main

The kernel can give a process a clock of its own for time since boot, not for the time of day, and a machine has one
for all of its devices. So this is a stand-in for hardware that we have not: it runs the service unchanged and shifts
what `time.time` and `time.time_ns` say (log lines are stamped by these too) by the seconds in a file, read anew each
time, so that the clock can jump while the service runs. Clocks that only count, like `time.monotonic`, go on as they
do on a device whose time of day is set.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def command(skew: Path) -> tuple[str, ...]:
    """What starts a service under that clock; its module follows."""
    return (sys.executable, "-m", __name__, str(skew))


def set_skew(skew: Path, seconds: float) -> None:
    """Have the clock of whoever reads this file be so far ahead, from now on."""
    beside = skew.with_suffix(".new")
    beside.write_text(str(seconds))
    beside.replace(skew)


def shift_clock(skew: Path) -> None:
    """Shift this process's wall clock by what the file says, whenever it is asked for the time."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + float(skew.read_text())
    time.time_ns = lambda: real_ns() + round(float(skew.read_text()) * 1e9)


def main(arguments: Sequence[str]) -> None:
    """Run a module as if it had been started itself."""
    skew, module, *rest = arguments
    shift_clock(Path(skew))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
