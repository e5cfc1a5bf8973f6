"""However a testbed ends, nothing of it stays: no process, no network, no control group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from bench.testbed.__main__ import app
from bench.testbed.namespace import why_no_network
from stageline.emulation.cgroups import MOUNT

pytestmark = pytest.mark.timeout(180)

BRING_UP = """
import json, os, sys, time
from pathlib import Path
from bench.testbed import enter_private_network, testbed
from stageline.emulation import limiter
from stageline.emulation.cgroups import NoCgroupsError
from stageline.emulation.fleet_file import load_fleet

if sys.argv[3] == "duty-cycle":
    def refused(*_):
        raise NoCgroupsError("a test says so")
    limiter.make_group = refused
entered = sys.argv[3] == "private" and enter_private_network()
fleet, folder = load_fleet(Path(sys.argv[1])), Path(sys.argv[2])
with testbed(fleet, library=folder / "library", folder=folder) as bed:
    pids = [bed.broker.pid, bed.planner_pid]
    pids += [device.pid(service) for device in bed.devices for service in ("monitor", "worker")]
    bed.check()
    patience = time.monotonic() + 30
    networks = set()
    # A service enters its network while it starts.
    while len(networks) < (3 if entered else 1) and time.monotonic() < patience:
        networks = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
        time.sleep(0.05)
    print(json.dumps({"pids": pids, "networks": sorted(networks), "entered": entered}), flush=True)
    time.sleep(600)
"""


def networks() -> set[str]:
    """Every network that some process here is in."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(os.readlink(process / "ns" / "net"))
        except OSError:  # It ended meanwhile, or is not ours to see.
            continue
    return found


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def groups(owner: int) -> list[Path]:
    return [folder for parent in (MOUNT, MOUNT / "cpu", MOUNT / "memory") for folder in parent.glob(f"*-{owner}-*")]


@pytest.mark.parametrize("how", ["private", "duty-cycle"])
def test_killed_with_signal_9_all_of_it_vanishes(
    how: str,
    started: Callable[..., Any],
    fleet_path: Path,
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    with started(BRING_UP, str(fleet_path), str(tmp_path / "bed"), how) as (process, said):
        assert len(said["pids"]) == 6
        assert all(lives(pid) for pid in said["pids"])
        private = set(said["networks"]) - {os.readlink("/proc/self/ns/net")}
        # The hub's and one for each device.
        assert len(private) == (3 if said["entered"] else 0)
        assert said["entered"] == (how == "private" and why_no_network() is None)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        eventually(lambda: not any(lives(pid) for pid in said["pids"]))
        eventually(lambda: not private & networks())
        eventually(lambda: not groups(process.pid))


def test_the_command_brings_a_fleet_up_until_it_is_interrupted(
    fleet_path: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    document = tmp_path / "up.json"
    command = [sys.executable, "-m", "bench.testbed", str(fleet_path), "--library", str(tmp_path / "library")]
    with subprocess.Popen(
        [*command, "--json", str(document)], cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually(document.exists, 60)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "fast" in out
    assert "mosquitto_sub" in out
    assert not groups(process.pid)
    assert not list(Path("/tmp").glob(f"stageline-testbed-{process.pid}-*"))


def test_the_command_says_which_fleets_there_are() -> None:
    asked = CliRunner().invoke(app, ["nowhere", "--loopback"])
    assert asked.exit_code == 2
    assert "one of eight, hhml, hm, hml" in asked.stderr
