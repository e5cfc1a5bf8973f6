"""Small programs of the system: their answer, or None, never an exception and never a hang."""

from __future__ import annotations

import asyncio

import pytest

from services.monitor import command as command_module
from services.monitor.command import run_command


async def test_its_output_is_the_answer():
    assert await run_command(("printf", "throttled=0x0")) == "throttled=0x0"


@pytest.mark.parametrize("command", [("no-such-program-anywhere",), ("false",)])
async def test_a_missing_or_failing_program_is_no_answer(command):
    assert await run_command(command) is None


async def test_a_program_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(command_module, "TIMEOUT_S", 0.1)
    async with asyncio.timeout(10):
        assert await run_command(("sleep", "60")) is None
