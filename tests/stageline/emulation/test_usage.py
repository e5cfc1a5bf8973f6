"""What a process used counts its children, those that ended included, and is nothing once it is gone."""

from __future__ import annotations

import subprocess
import sys

from stageline.emulation.usage import cpu_s, resident_bytes

PARENT = r"""
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"])
subprocess.run([sys.executable, "-c", "held = bytearray(b'1') * (64 << 20); print(1, flush=True); input()"])
"""


def test_children_count_living_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.3 <= cpu_s(process.pid) < 60
        assert resident_bytes(process.pid) > 64 << 20
        process.communicate(b"\n")
    assert (cpu_s(process.pid), resident_bytes(process.pid)) == (0.0, 0)
