"""A program under a device's quota has that, can read it, and ends with all that it started."""

from __future__ import annotations

import sys

import psutil
import pytest

from bench.testbed import confined
from stageline.emulation.cgroups import MOUNT, NoCgroupsError, make_group

TELL = """
import os, subprocess, sys
from pathlib import Path
from services.capacity import capacity
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
size = capacity(None)
print(size.capacity_cores, size.memory_bytes, child.pid, os.environ["SAID"], sys.stdin.readline(), flush=True)
"""


def test_it_reads_its_limits_and_leaves_no_child_behind() -> None:
    command = [sys.executable, "-c", TELL]
    with confined(command, cores=0.5, memory_bytes=256 << 20, environment={"SAID": "hello"}, name="told") as process:
        out, _ = process.communicate("world\n", timeout=60)
        cores, memory, child, *words = out.split()
        assert words == ["hello", "world"]
        assert psutil.pid_exists(int(child))
    try:
        make_group("probe", 1.0).remove()
    except NoCgroupsError:
        psutil.Process(int(child)).kill()  # A duty cycle knows only what it was told of.
        return
    assert float(cores) == pytest.approx(0.5)
    assert int(memory) == 256 << 20
    assert not psutil.pid_exists(int(child)) or psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE
    assert not list(MOUNT.glob("**/stageline-*-told-*"))


def test_a_program_that_goes_on_is_ended_when_nobody_wants_it_any_more() -> None:
    with confined([sys.executable, "-c", "while True: pass"], cores=0.2) as process:
        assert process.poll() is None
    assert process.returncode is not None
