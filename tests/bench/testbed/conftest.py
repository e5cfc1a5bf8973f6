"""Programs that the tests start: a testbed wants a network of its own, and a test must not take pytest there."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FLEET = """
name = "two"
about = "for tests"
[[device]]
name = "fast"
cores = 1.0
memory_mb = 512
power = { idle_w = 1, busy_w = 5 }
link = { up_mbps = 40, down_mbps = 10 }
[[device]]
name = "slow"
cores = 0.8
memory_mb = 384
link = { up_mbps = 5, down_mbps = 5, delay_ms = 10 }
"""


@pytest.fixture
def fleet_path(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(FLEET)
    return path


Start = Callable[..., Any]


@contextmanager
def started(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A Python program, and the JSON of the first line that it writes."""
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"ended with {process.wait()}"
            yield process, json.loads(line)
        finally:
            process.kill()


@pytest.fixture(name="started")
def started_program() -> Callable[..., Any]:
    return started


@pytest.fixture
def eventually() -> Callable[..., None]:
    def wait(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
