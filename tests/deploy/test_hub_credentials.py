"""A hub with users, tried on a real mosquitto: nobody gets in without a password, and no device speaks as another."""

import getpass
import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from own_port import own_port

from broker.embedded import HEAP_ENVIRONMENT, find_mosquitto
from stageline.credentials import CredentialsError, Invitation, init_hub, invite
from stageline.hub_broker import hub_broker
from stageline.hub_files import HubFiles, conf_text
from stageline.hub_folder import first_closed
from stageline.hub_rights import without_user
from stageline.settings import HUB_DIR_OF_ROOT, CommandSettings

ROOT = "stageline/v1"
PATIENCE_S = 60
"""More than any of these programs takes, whatever else the machine does."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Invitation]]:
    """A hub with a planner, two devices and an operator, and its broker running."""
    hub = HubFiles(tmp_path_factory.mktemp("hub"))
    port = own_port()
    users = {"hub": init_hub(hub, bind="127.0.0.1", port=port)}
    for device in ("pi4", "nano"):
        users[device] = invite(hub, device, host="127.0.0.1", port=port)
    users["ann"] = invite(hub, "ann", role="operator", host="127.0.0.1", port=port)
    users["old-pi4"], users["pi4"] = users["pi4"], invite(hub, "pi4", host="127.0.0.1", port=port)
    # Started by root, mosquitto would become its own user, who cannot look into a test's folder.
    hub.conf.write_text(f"user {getpass.getuser()}\n{hub.conf.read_text()}")
    with running(hub.conf, port):
        yield users


@contextmanager
def running(conf: Path, port: int) -> Iterator[None]:
    """mosquitto with that configuration, listening."""
    broker = subprocess.Popen([find_mosquitto(), "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert broker.poll() is None, "mosquitto does not accept the configuration"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield
    finally:
        broker.kill()
        broker.wait()


def publish(who: Invitation, topic: str, password: str | None = None) -> bool:
    done = subprocess.run(
        ["mosquitto_pub", "-V", "5", "-q", "1", "-h", who.host, "-p", str(who.port), "-u", who.user,
         "-P", password or who.password, "-t", f"{ROOT}/{topic}", "-m", "x"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return done.returncode == 0 and "ailed" not in done.stderr + done.stdout


def hears(who: Invitation, sender: Invitation, topic: str, within_s: int = PATIENCE_S // 2) -> bool:
    """Whether `who` receives what `sender` leaves at `topic` (retained, so that it is there as soon as one asks)."""
    auth = ["-V", "5", "-h", who.host, "-p", str(who.port)]
    subprocess.run(
        ["mosquitto_pub", *auth, "-u", sender.user, "-P", sender.password, "-r", "-t", f"{ROOT}/{topic}", "-m", "here"],
        timeout=PATIENCE_S, check=True, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(
        ["mosquitto_sub", *auth, "-u", who.user, "-P", who.password, "-C", "1", "-W", str(within_s),
         "-t", f"{ROOT}/{topic}"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return done.stdout.strip() == "here"


def test_nobody_gets_in_without_the_right_password(people: dict[str, Invitation]) -> None:
    assert publish(people["pi4"], "device/pi4/status")
    assert not publish(people["pi4"], "device/pi4/status", password="guess")
    assert not publish(people["old-pi4"], "device/pi4/status"), "a new invitation must end the old one"


def test_a_device_speaks_only_as_itself(people: dict[str, Invitation]) -> None:
    assert not publish(people["pi4"], "device/nano/status")
    assert not publish(people["pi4"], "plan/cats/current")
    assert not publish(people["pi4"], "model/cats/card")
    assert not publish(people["pi4"], "deployment/cats")
    assert publish(people["pi4"], "stage/cats/3/nano/r0s1")
    assert publish(people["pi4"], "answer/laptop")


def test_a_device_hears_its_own_work_and_no_one_elses(people: dict[str, Invitation]) -> None:
    assert hears(people["nano"], people["ann"], "stage/cats/3/nano/r0s1")
    assert not hears(people["pi4"], people["ann"], "stage/cats/3/nano/r0s2", within_s=1)
    assert not hears(people["pi4"], people["hub"], "answer/laptop", within_s=1)
    assert hears(people["pi4"], people["hub"], "plan/cats/current")


def test_an_operator_deploys_and_looks_at_everything_but_is_no_planner(people: dict[str, Invitation]) -> None:
    assert publish(people["ann"], "deployment/cats")
    assert hears(people["ann"], people["hub"], "plan/cats/decision")
    assert not publish(people["ann"], "plan/cats/current")


def test_whoever_submits_tells_what_it_sees_and_a_device_does_not(people: dict[str, Invitation]) -> None:
    assert publish(people["ann"], "seen/cats/laptop")
    assert publish(people["ann"], "gateway/cellar/request-1")
    assert not publish(people["pi4"], "seen/cats/laptop")


def test_an_operator_gives_devices_their_duty_and_clears_what_they_left(people: dict[str, Invitation]) -> None:
    for topic in ("duty", "status", "info", "telemetry", "stages", "profile/cats", "claim"):
        assert publish(people["ann"], f"device/nano/{topic}")
    assert not publish(people["ann"], "device/nano/timing")
    assert not publish(people["pi4"], "device/nano/duty")


def test_secrets_are_not_for_others_to_read(tmp_path: Path) -> None:
    hub = HubFiles(tmp_path / "hub")
    planner = init_hub(hub)
    for file in (hub.passwords, hub.planner_address):
        assert not stat.S_IMODE(file.stat().st_mode) & stat.S_IRWXO
    assert planner.password not in hub.passwords.read_text()


def test_a_hub_is_initialised_once(tmp_path: Path) -> None:
    hub = HubFiles(tmp_path / "hub")
    with pytest.raises(CredentialsError, match="hub --init"):
        invite(hub, "pi4", host="hub.local")
    init_hub(hub)
    with pytest.raises(CredentialsError, match="already has users"):
        init_hub(hub)
    with pytest.raises(CredentialsError, match="planner's own name"):
        invite(hub, "hub", host="hub.local")


def test_the_systems_own_mosquitto_accepts_the_hubs_part_of_its_configuration(tmp_path: Path) -> None:
    """Debian's mosquitto.conf comes first and already says where to keep things; saying it twice is an error there."""
    hub = HubFiles(tmp_path)
    init_hub(hub)
    (tmp_path / "conf.d").mkdir()
    port = own_port()
    (tmp_path / "conf.d" / "stageline.conf").write_text(conf_text(hub, bind="127.0.0.1", port=port))
    system = tmp_path / "system.conf"
    system.write_text(
        f"user {getpass.getuser()}\npid_file {tmp_path}/pid\npersistence true\npersistence_location {tmp_path}/\n"
        f"log_dest file {tmp_path}/log\ninclude_dir {tmp_path}/conf.d\n"
    )
    with running(system, port):
        pass


def test_an_operators_section_can_be_taken_out_again() -> None:
    from stageline.hub_rights import operator_rights

    both = "start\n" + operator_rights("ann", ROOT) + operator_rights("bob", ROOT)
    assert without_user(both, "ann") == "start\n" + operator_rights("bob", ROOT)
    assert without_user("start\n", "ann") == "start\n"


def test_the_folder_that_keeps_a_user_out_is_found(open_folder: Path) -> None:
    stranger, group = 65534, 65534
    (outer := open_folder / "outer").mkdir(mode=0o700)
    inner = outer / "inner"
    assert first_closed(inner, stranger, [group]) == outer
    assert first_closed(inner, outer.stat().st_uid, [group]) is None
    outer.chmod(0o710)
    assert first_closed(inner, stranger, [group]) == outer
    assert first_closed(inner, stranger, [group, outer.stat().st_gid]) is None
    outer.chmod(0o701)
    assert first_closed(inner, stranger, [group]) is None
    assert first_closed(inner, stranger, [outer.stat().st_gid]) == outer, "its group's rights count, not the others'"
    inner.mkdir(mode=0o700)
    assert first_closed(inner, stranger, [group]) == inner


def test_root_keeps_a_hub_where_mosquitto_can_reach_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STAGELINE_STATE_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert CommandSettings().hub_files_dir == HUB_DIR_OF_ROOT
    assert CommandSettings(state_dir=tmp_path).hub_files_dir == tmp_path / "hub"
    assert CommandSettings(hub_dir=tmp_path).hub_files_dir == tmp_path
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert CommandSettings().hub_files_dir == CommandSettings().state_dir / "hub"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's mosquitto becomes another user")
def test_roots_broker_reads_its_files_whatever_the_umask(open_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        hub = HubFiles(open_folder / "hub")
        port = own_port()
        init_hub(hub, bind="127.0.0.1", port=port)
        invite(hub, "pi4", host="127.0.0.1", port=port)
    finally:
        os.umask(before)
    with running(hub.conf, port):
        pass


def test_a_hubs_broker_keeps_freed_memory_as_the_private_one_does(open_folder: Path) -> None:
    assert hub_broker(open_folder, port=1883).child.environment == HEAP_ENVIRONMENT
    init_hub(HubFiles(open_folder))
    assert hub_broker(open_folder, port=1883).child.environment == HEAP_ENVIRONMENT
