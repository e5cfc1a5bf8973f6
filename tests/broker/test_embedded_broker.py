"""The private mosquitto: there when asked for, on loopback only, gone with its owner."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from broker.embedded import TEMPLATE, BrokerStartError, EmbeddedBroker, MosquittoMissingError, configure

pytestmark = pytest.mark.timeout(30)

OWNER = """
import time
from broker.embedded import EmbeddedBroker
broker = EmbeddedBroker()
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def listens_on(broker: EmbeddedBroker) -> list[tuple[str, int]]:
    """Addresses and ports."""
    return [
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.Process(broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_it_listens_on_loopback_and_nowhere_else(broker: EmbeddedBroker) -> None:
    assert listens_on(broker) == [("127.0.0.1", broker.port)]
    assert broker.url == f"mqtt://127.0.0.1:{broker.port}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_it_listens_on_the_address_that_it_is_given_instead() -> None:
    with EmbeddedBroker(host="127.0.0.2") as running:
        assert running.url == f"mqtt://127.0.0.2:{running.port}"
        assert accepts(running.port, "127.0.0.2")
        assert listens_on(running) == [("127.0.0.2", running.port)]
        assert not running.ended


def test_it_never_has_roots_rights(broker: EmbeddedBroker) -> None:
    assert psutil.Process(broker.pid).uids().effective != 0


def test_it_is_gone_after_stop_and_leaves_no_file() -> None:
    with EmbeddedBroker() as running:
        pid, port = running.pid, running.port
        folder = Path(psutil.Process(pid).open_files()[0].path).parent
        assert accepts(port)
    assert not psutil.pid_exists(pid)
    assert not accepts(port)
    assert "stageline-mosquitto-" in folder.name
    assert not folder.exists()
    assert running.pid == 0


def test_killed_and_restarted_it_has_the_same_address() -> None:
    with EmbeddedBroker() as running:
        url, pid = running.url, running.pid
        running.kill()
        assert not accepts(running.port)
        running.restart()
        assert running.url == url
        assert running.pid != pid
        assert accepts(running.port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent's life")
async def test_it_dies_with_the_process_that_started_it(
    eventually: Callable[[Callable[[], bool]], Awaitable[None]],
) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(await owner.stdout.readline())
    assert psutil.pid_exists(pid)
    owner.kill()
    await owner.wait()
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_two_run_side_by_side() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.port != other.port
        assert accepts(one.port)
        assert accepts(other.port)


def test_a_setting_that_mosquitto_refuses_is_told_in_its_own_words() -> None:
    with pytest.raises(BrokerStartError, match="Unknown configuration variable"), EmbeddedBroker({"no_such": "1"}):
        pass


def test_a_missing_mosquitto_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name, path=None: None)
    with pytest.raises(MosquittoMissingError, match="apt-get install mosquitto"), EmbeddedBroker():
        pass


def test_settings_replace_lines_of_the_template_add_to_it_or_remove_from_it() -> None:
    template = (
        "# keep me\nlistener 1883 127.0.0.1\nmax_packet_size 1\npersistence true\n\nlog_type error\nlog_type notice\n"
    )
    made = configure(template, {"listener": "1 ::1", "persistence": None, "acl_file": "/a"})
    assert made.splitlines() == [
        "# keep me", "max_packet_size 1", "", "log_type error", "log_type notice", "listener 1 ::1", "acl_file /a",
    ]  # fmt: skip


def test_the_hubs_configuration_is_loopback_bounded_and_lets_frames_pass() -> None:
    settings = dict(
        line.split(maxsplit=1) for line in TEMPLATE.read_text().splitlines() if line and not line.startswith("#")
    )
    assert settings["listener"].split()[1] == "127.0.0.1"
    assert int(settings["max_packet_size"]) == 64 << 20
    assert int(settings["max_queued_bytes"]) > 0
    assert settings["set_tcp_nodelay"] == "true"
