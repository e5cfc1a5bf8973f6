"""The units that `stageline install` writes: valid, hardened, and holding no secret that others can read."""

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from stageline.commands.install import install
from stageline.service_files import SERVICES, service_files

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this system has no systemd")
SECRET = 'mqtt://pi4:pa$$w"ord@hub.local:1883'
app = Typer()
app.command()(install)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    written = []
    for part in SERVICES:
        for file in service_files(part, binaries=Path(sys.executable).parent, environment={}):
            if file.path.suffix in (".service", ".slice"):
                target = tmp_path / file.path.name
                target.write_text(file.text)
                written.append(target)
    return written


def test_nothing_is_left_to_fill_in(units: list[Path]) -> None:
    assert len(units) == 5
    for unit in units:
        assert re.findall("@[A-Z_]+@", unit.read_text()) == []


def test_a_unit_waits_until_its_service_is_up_watches_it_and_bounds_its_stop(units: list[Path]) -> None:
    for unit in (one for one in units if one.suffix == ".service"):
        settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
        assert (settings["Type"], settings["NotifyAccess"], settings["Restart"]) == ("notify", "main", "on-failure")
        assert int(settings["WatchdogSec"]) >= 30
        # A service under load takes up to ten seconds to leave in good order.
        assert 15 <= int(settings["TimeoutStopSec"]) < int(settings["WatchdogSec"])


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(units: list[Path]) -> None:
    done = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_units_expose_little(units: list[Path]) -> None:
    for unit in (one for one in units if one.suffix == ".service"):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{unit.name}: {done.stdout.splitlines()[-1]}"


def test_a_dry_run_shows_everything_and_writes_nothing(tmp_path: Path) -> None:
    for part in ("device", "hub", "gateway"):
        done = CliRunner().invoke(
            app, [part, "--dry-run", "--broker", "mqtt://pi4:x@hub:1883", "--root", str(tmp_path)]
        )
        assert done.exit_code == 0, done.output
        for service in SERVICES[part]:
            assert f"{service}.service" in done.output
    assert list(tmp_path.iterdir()) == []


def test_an_installed_device_keeps_its_password_to_root(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["device", "--broker", SECRET, "--name", "pi4", "--root", str(tmp_path)])
    assert done.exit_code == 0, done.output
    env = tmp_path / "etc/stageline/device.env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert 'STAGELINE_BROKER="mqtt://pi4:pa\\$\\$w\\"ord@hub.local:1883"' in env.read_text()
    unit = tmp_path / "etc/systemd/system/stageline-worker.service"
    assert "pa$$" not in unit.read_text()
    assert "systemctl" in done.output


def test_an_installed_gateway_runs_as_whoever_hands_over_and_keeps_its_password_to_root(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["gateway", "--broker", SECRET, "--root", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE((tmp_path / "etc/stageline/gateway.env").stat().st_mode) == 0o600
    lines = (tmp_path / "etc/systemd/system/stageline-gateway@.service").read_text().splitlines()
    assert [line for line in lines if "User=" in line] == ["User=%i"]
    assert [line for line in lines if line.startswith("StateDirectory=")] == ["StateDirectory=stageline-gateway/%i"]
    assert "stageline submit --journal /var/lib/stageline-gateway/USER" in done.output


def test_an_installed_hub_asks_for_passwords_and_can_be_installed_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = CliRunner().invoke(app, ["hub", "--root", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert "stageline invite" in done.output
    conf = (tmp_path / "etc/mosquitto/conf.d/stageline.conf").read_text()
    assert "allow_anonymous false" in conf
    assert "password_file /etc/mosquitto/stageline/passwords" in conf
    planner = (tmp_path / "etc/mosquitto/stageline/planner.address").read_text().strip()
    assert planner.replace("$", "\\$") in (tmp_path / "etc/stageline/hub.env").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["device"], "stageline invite"),
        (["gateway"], "stageline invite --operator"),
        (["device", "--broker", "mqtt://hub", "--name", "a/b"], "letters, digits"),
        (["device", "--broker", "http://hub"], "mqtt://"),
    ],
)
def test_what_cannot_be_installed_is_said_in_a_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*arguments, "--root", str(tmp_path)])
    assert done.exit_code == 2
    assert says in done.output
    assert list(tmp_path.iterdir()) == []
