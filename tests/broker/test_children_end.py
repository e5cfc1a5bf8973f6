"""Children end when asked, and are made to when they do not."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.children import end, end_async, tied_to_us

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
    end(polite)
    end(deaf, patience_s=0.3)
    assert (polite.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)


def test_a_child_that_is_gone_already_is_no_error() -> None:
    gone = started("print('up')")
    gone.wait()
    end(gone)
    assert gone.returncode == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="only Linux ties a child to its parent's life")
def test_only_the_main_thread_ties_a_child_to_our_life() -> None:
    assert tied_to_us(signal.SIGKILL, as_user=7)[1:] == [
        "--reuid=7", "--regid=7", "--clear-groups", "--pdeathsig", "KILL", "--",
    ]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        assert pool.submit(tied_to_us).result() == []


async def test_the_same_holds_for_children_of_an_event_loop() -> None:
    children = []
    for program in (POLITE, DEAF, "print('up')"):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert await child.stdout.readline()
        children.append(child)
    await children[2].wait()
    polite, deaf, gone = children
    await end_async(polite, gone)
    await end_async(deaf, patience_s=0.3)
    assert [child.returncode for child in children] == [-signal.SIGTERM, -signal.SIGKILL, 0]
