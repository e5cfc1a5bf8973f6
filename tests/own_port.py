"""A port for a program that is told one before it starts."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def own_port() -> int:
    """Free on loopback, and none of those that the kernel gives to whoever asks for any: nobody else gets it meanwhile.

    Were it one of them, a broker or a connection of another test might have it by the time the program starts.
    """
    first, last = map(int, _GIVEN_OUT.read_text().split()) if _GIVEN_OUT.exists() else (32_768, 65_535)
    every = range(10_000, 65_536)
    rest = [port for port in every if not first <= port <= last] or every
    draw = random.SystemRandom()
    while True:
        port = draw.choice(rest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
