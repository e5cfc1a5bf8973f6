"""The hub's own mosquitto: on loopback for anybody here, or for users who were let in (`hub --init`, `invite`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.address import BrokerAddress
from broker.embedded import HEAP_ENVIRONMENT, TEMPLATE, configure, find_mosquitto
from schemas.topics import ROOT
from stageline.credentials import reachable_host
from stageline.hub_files import HubFiles
from stageline.hub_folder import check_reachable
from stageline.processes import Child
from stageline.watch_line import watch_line

_LOOPBACK: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 10.0


class HubError(Exception):
    """The hub's broker cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class HubBroker:
    """How to start it, how the planner reaches it, and the lines that people are shown."""

    child: Child
    planner_url: str
    port: int
    join_line: str
    watch_line: str
    open_to_others: bool
    forgetful: bool = False
    """Deployments are not kept over a restart."""


def hub_broker(directory: Path, *, port: int, root: str = ROOT) -> HubBroker:
    """Configure the hub's broker: with users where there are some, for this machine only where there are none.

    Args:
        directory: the hub's own; a configuration is written there.
        port: for a hub without users; one with users has its port in its configuration.
        root: the topic root, for the line that people are shown.

    Raises:
        broker.embedded.MosquittoMissingError: mosquitto is not installed.
        stageline.hub_folder.ClosedFolderError: run by root, it could not reach its files.
    """
    files = HubFiles(directory)
    mosquitto = find_mosquitto()
    if files.exist():
        check_reachable(directory)
        planner_url = files.planner_address.read_text(encoding="utf-8").strip()
        port = BrokerAddress.parse(planner_url).port
        return HubBroker(
            child=Child("mosquitto", [mosquitto, "-c", str(files.conf)], HEAP_ENVIRONMENT),
            planner_url=planner_url,
            port=port,
            join_line="stageline invite NAME     (here, for each device; prints the line to run there)",
            watch_line=watch_line(root, options=f"-h {reachable_host()} -p {port} -u USER -P PASSWORD"),
            open_to_others=True,
        )
    url = f"mqtt://{_LOOPBACK}:{port}"
    directory.mkdir(parents=True, exist_ok=True)
    conf = directory / "loopback.conf"
    # Nobody is kept out here, so who comes and goes is no news.
    listen: dict[str, str | None] = {
        "listener": f"{port} {_LOOPBACK}",
        "connection_messages": "false",
        **_memory(directory),
    }
    template = TEMPLATE.read_text(encoding="utf-8").replace("log_type notice\n", "")
    conf.write_text(configure(template, listen), encoding="utf-8")
    return HubBroker(
        child=Child("mosquitto", [mosquitto, "-c", str(conf)], HEAP_ENVIRONMENT),
        planner_url=url,
        port=port,
        join_line=f"stageline join {url} --name NAME     (on this machine)",
        watch_line=watch_line(root, options=f"-h {_LOOPBACK} -p {port}"),
        open_to_others=False,
        forgetful=os.geteuid() == 0,
    )


def check_port(port: int) -> None:
    """Raise HubError when something listens there already."""
    with socket.socket() as probe:
        if probe.connect_ex((_LOOPBACK, port)) == 0:
            raise HubError(
                f"something listens on port {port} already, probably the system's own mosquitto. Use that one "
                "(`sudo stageline install hub` sets it up), stop it (`sudo systemctl stop mosquitto`), or choose --port"
            )


@contextlib.contextmanager
def findable(files: HubFiles, pid: int) -> Iterator[None]:
    """`reload_broker` finds the broker of that process id while inside."""
    files.broker_pid.write_text(f"{pid}\n", encoding="utf-8")
    try:
        yield
    finally:
        files.broker_pid.unlink(missing_ok=True)


def reload_broker(files: HubFiles) -> bool:
    """Have the mosquitto of a running `stageline hub` read its users again; False when there is none to ask."""
    try:
        pid = int(files.broker_pid.read_text(encoding="utf-8"))
        # A hub that was killed leaves its file behind, and the number may be somebody else's by now.
        name = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        if Path(name.strip()).name != "mosquitto":
            return False
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError):
        return False
    return True


async def until_listening(port: int, process: asyncio.subprocess.Process) -> None:
    """Return when the broker accepts connections.

    Raises:
        HubError: it ended, or took too long.
    """
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(_LOOPBACK, port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise HubError(f"mosquitto does not listen on port {port} after {_START_TIMEOUT_S:g} s") from None
    raise HubError(f"mosquitto ended with status {process.returncode}; the lines above say why")


def _memory(directory: Path) -> dict[str, str | None]:
    """Where what is retained survives a restart of the hub."""
    if os.geteuid() == 0:
        # mosquitto gives root's rights up, and root's own folders are closed to it then.
        return {"persistence": "false", "persistence_location": None, "autosave_interval": None}
    data = directory / "data"
    data.mkdir(exist_ok=True, mode=0o700)
    return {"persistence_location": f"{data}/"}
