"""Children end when asked, and are made to when they do not."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from broker.children import end, end_async

POLITE = "import sys, time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {POLITE}"

pytestmark = pytest.mark.timeout(30)


def started(program: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline()
    return child


def test_a_child_ends_when_asked_and_a_deaf_one_is_killed() -> None:
    polite, deaf = started(POLITE), started(DEAF)
    end(polite, deaf, patience_s=0.5)
    assert (polite.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)


def test_a_child_that_is_gone_already_is_no_error() -> None:
    gone = started("print('up')")
    gone.wait()
    end(gone)
    assert gone.returncode == 0


async def test_the_same_holds_for_children_of_an_event_loop() -> None:
    children = []
    for program in (POLITE, DEAF, "print('up')"):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert await child.stdout.readline()
        children.append(child)
    await children[2].wait()
    await end_async(*children, patience_s=0.5)
    assert [child.returncode for child in children] == [-signal.SIGTERM, -signal.SIGKILL, 0]
