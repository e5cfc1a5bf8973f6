"""`hub`, `invite` and `join`: how machines are set up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from own_port import own_port
from typer.testing import CliRunner

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.topics import (
    DEVICE_STAGES,
    HUB_STATUS,
)
from stageline.cli import app

runner = CliRunner()


def test_join_says_at_once_that_the_broker_cannot_be_reached() -> None:
    environment = {"STAGELINE_CONNECT_TIMEOUT_S": "0.2", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "stageline.cli", "join", "mqtt://127.0.0.1:9", "--name", "pi4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "127.0.0.1:9" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "given"), [("--name", "kitchen/pi"), ("--cores", "0"), ("--memory-mb", "-1"), ("--backend", "none")]
)
def test_join_names_its_own_option_when_it_cannot_be_used(option: str, given: str) -> None:
    result = runner.invoke(app, ["join", "mqtt://127.0.0.1:9", option, given])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("stageline: STAGELINE_")
    assert f"({option})" in line


def test_a_hub_with_users_invites_devices_and_operators(open_folder: Path) -> None:
    hub = ["--hub-dir", str(open_folder / "hub")]
    assert runner.invoke(app, ["invite", "pi4", *hub]).exit_code == 2
    assert runner.invoke(app, ["hub", "--init", "--port", "18999", *hub]).exit_code == 0
    again = runner.invoke(app, ["hub", "--init", *hub])
    assert (again.exit_code, "already has users" in again.output) == (2, True)
    device = runner.invoke(app, ["invite", "pi4", *hub, "--host", "hub.local", "--json", "-"])
    assert device.exit_code == 0, device.output
    assert re.fullmatch(
        r"stageline join 'mqtt://pi4:.+@hub\.local:18999' --name pi4", json.loads(device.stdout)["line"]
    )
    assert "systemctl reload mosquitto" in device.stderr
    person = runner.invoke(app, ["invite", "--operator", "ann", *hub])
    target = open_folder / "ann.json"
    target.write_text("{}")
    assert runner.invoke(app, ["invite", "--operator", "ann", *hub, "--json", str(target)]).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert "STAGELINE_BROKER='mqtt://ann:" in person.stdout
    assert runner.invoke(app, ["invite", "no/slash", *hub]).exit_code == 2


def test_an_address_to_listen_on_without_users_is_a_usage_error() -> None:
    result = runner.invoke(app, ["hub", "--bind", "127.0.0.1"])
    assert result.exit_code == 2
    assert "--init" in result.stderr


def test_a_hub_refuses_a_folder_that_its_broker_could_not_enter(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import pwd

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: pwd.struct_passwd(("nobody", "", 65534, 65534, "", "", "")))
    (home := open_folder / "home").mkdir(mode=0o700)
    result = runner.invoke(app, ["hub", "--init", "--hub-dir", str(home / "state" / "hub")])
    assert result.exit_code == 2
    assert f"cannot enter {home} " in result.stderr
    assert "--hub-dir /var/lib/stageline-hub" in result.stderr
    assert list(home.iterdir()) == []


def test_hub_and_join_run_as_children_of_one_command_each(tmp_path: Path) -> None:
    port = own_port()
    url = f"mqtt://127.0.0.1:{port}"
    environment = {
        "STAGELINE_STATE_DIR": str(tmp_path / "state"),
        "PATH": "/usr/sbin:/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "stageline.cli"]

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)

    async def both_up() -> None:
        async with (
            asyncio.timeout(60),
            Bus(url, name="watch", connect_timeout_s=30) as bus,
            bus.subscribe(HUB_STATUS) as hubs,
            bus.subscribe(DEVICE_STAGES, device="pi4") as workers,
        ):
            while not (await anext(hubs)).message.online:
                pass
            joined.append(start("join", url, "--name", "pi4", "--json", str(tmp_path / "join.json")))
            while not (await anext(workers)).message.online:
                pass

    async def planner_comes_back() -> None:
        pid = json.loads((tmp_path / "hub.json").read_text())["pids"]["planner"]
        async with (
            asyncio.timeout(60),
            Bus(url, name="watch") as bus,
            bus.subscribe(HUB_STATUS) as hubs,
        ):
            os.kill(pid, signal.SIGKILL)
            while (await anext(hubs)).message.online:
                pass
            while not (await anext(hubs)).message.online:
                pass

    joined: list[subprocess.Popen[str]] = []
    hub = start("hub", "--port", str(port), "--json", str(tmp_path / "hub.json"))
    try:
        asyncio.run(both_up())
        assert json.loads((tmp_path / "hub.json").read_text())["loopback_only"] is True
        assert set(json.loads((tmp_path / "join.json").read_text())["pids"]) == {"monitor", "worker"}
        second = subprocess.run(
            [*command, "hub", "--port", str(port)], env=environment, capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert f"port {port} already" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        asyncio.run(planner_comes_back())
        double = subprocess.run(
            [*command, "join", url, "--name", "pi4"], env=environment, capture_output=True, text=True, check=False
        )
        assert double.returncode == 2
        said_once, *more = double.stderr.splitlines()
        assert not more, double.stderr
        assert said_once.startswith("stageline: another ")
        assert "--name NAME" in said_once
    finally:
        said = []
        for process in (*joined, hub):
            process.terminate()
            said.append(process.communicate(timeout=60)[1])
    assert [process.returncode for process in (*joined, hub)] == [0, 0], said


def test_a_join_ends_when_its_monitor_does(broker: EmbeddedBroker, root: str, tmp_path: Path) -> None:
    environment = {
        "STAGELINE_STATE_DIR": str(tmp_path), "STAGELINE_ROOT": root, "STAGELINE_BUSY_W": "-1",
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "stageline.cli", "join", broker.url, "--name", "pi4"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "monitor ended with status 2" in done.stderr
