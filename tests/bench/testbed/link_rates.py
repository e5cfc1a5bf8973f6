"""How fast a link is each way, measured at the hub; run as a program, this is the device's end of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence

FIRST_BYTES = 1 << 16
"""Not counted: a bucket lets some pass at once."""


def rates(hub: str, entering: Sequence[str], nbytes: int, own_port: int = 0) -> tuple[float, float]:
    """Megabits a second up and down, between this program and one that is started in a device's network.

    Args:
        hub: the address of this end.
        entering: what starts a program in the device's network.
        nbytes: sent each way.
        own_port: of the device's end; 0: any.
    """
    with socket.create_server((hub, 0)) as server:
        command = [*entering, sys.executable, "-m", __name__, hub]
        with subprocess.Popen([*command, *map(str, (server.getsockname()[1], nbytes, own_port))]):
            device, _ = server.accept()
            with device:
                counted = nbytes - len(device.recv(FIRST_BYTES, socket.MSG_WAITALL))
                began = time.perf_counter()
                receive(device, counted)
                up = counted * 8e-6 / (time.perf_counter() - began)
                device.sendall(bytes(1 + nbytes))
                return up, nbytes * 8e-6 / float(device.recv(100))


def device_end(hub: str, port: int, nbytes: int, own_port: int) -> None:
    """Send, receive, and tell the hub how many seconds the receiving took."""
    with socket.create_connection((hub, port), timeout=20, source_address=("", own_port)) as line:
        line.sendall(bytes(nbytes))
        line.recv(1)
        began = time.perf_counter()
        receive(line, nbytes)
        line.sendall(repr(time.perf_counter() - began).encode())


def receive(line: socket.socket, nbytes: int) -> None:
    while nbytes:
        part = len(line.recv(min(nbytes, 1 << 16)))
        assert part, f"closed {nbytes} bytes early"
        nbytes -= part


if __name__ == "__main__":
    device_end(sys.argv[1], *map(int, sys.argv[2:]))
