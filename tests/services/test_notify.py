"""What goes to systemd's socket, and that nothing does where there is none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from services.notify import notify, somebody_listens, watchdog_s


async def test_assignments_go_out_in_one_message_with_a_line_each(systemd):
    notify(ready=1, status="serving\nREADY=0 of\tcats")
    assert await systemd.says("READY") == {"READY": "1", "STATUS": "serving READY=0 of cats"}


def test_a_socket_in_the_file_system_is_found_too(monkeypatch: pytest.MonkeyPatch, open_folder: Path):
    path = str(open_folder / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        notify(watchdog=1)
        assert listener.recv(100) == b"WATCHDOG=1"


def test_without_a_supervisor_nothing_is_said_and_no_sign_of_life_is_due(monkeypatch: pytest.MonkeyPatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    assert not somebody_listens()
    assert watchdog_s() is None
    notify(ready=1)


def test_a_supervisor_that_is_gone_is_one_line_in_the_log(monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", "@stageline-nobody-is-here")
    notify(ready=1)
    (record,) = caplog.records
    assert "systemd was not told" in record.getMessage()


def test_a_supervisor_that_does_not_read_holds_nobody_up(systemd, caplog):
    assert notify(ready=1)
    assert not all(notify(watchdog=1) for _ in range(10_000))
    assert "systemd was not told" in caplog.text


@pytest.mark.parametrize(
    ("wanted_us", "whose", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "ours", 30.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_time_between_signs_of_life_is_systemds(monkeypatch, wanted_us, whose, seconds):
    monkeypatch.setenv("WATCHDOG_USEC", wanted_us)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if whose:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if whose == "ours" else whose)
    assert watchdog_s() == seconds
