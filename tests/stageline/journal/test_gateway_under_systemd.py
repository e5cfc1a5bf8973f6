"""A gateway under systemd: up once its journal is open, alive while it waits for a broker, and gone when it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from child_processes import running
from typer.testing import CliRunner

from stageline.cli import app
from stageline.journal.store import DATABASE

if TYPE_CHECKING:
    from systemd_listener import Systemd

NOBODY = "mqtt://127.0.0.1:9"


async def test_it_is_up_without_a_broker_gives_signs_of_life_and_leaves_when_it_is_told(
    systemd: Systemd, tmp_path: Path
) -> None:
    arguments = ("gateway", "--journal", tmp_path / "journal")
    async with running("stageline.cli", *arguments, STAGELINE_BROKER=NOBODY) as process:
        assert (await systemd.says("READY"))["STATUS"] == "answered 0, failed 0"
        await systemd.says("WATCHDOG")
        process.terminate()
        await systemd.says("STOPPING")
        assert await asyncio.wait_for(process.wait(), 30) == 0


def test_what_must_be_mended_is_one_line_and_exit_code_2_there_too(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    result = CliRunner().invoke(app, ["gateway", "--journal", str(tmp_path), "--broker", NOBODY])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "is damaged" in line
    assert not systemd.said("READY")
