"""A subscriber that asks for everything and reads nothing: what the broker has for it must wait somewhere."""

from __future__ import annotations

import socket
from typing import Final

_CONNECT: Final = 0x10
_SUBSCRIBE: Final = 0x82
_CLEAN_SESSION: Final = 2
_AT_LEAST_ONCE: Final = 1


def deaf_subscriber(host: str, port: int, pattern: str) -> socket.socket:
    """Connected (MQTT 3.1.1, no keepalive) and subscribed to `pattern`; close it to end it.

    Raises:
        OSError: no broker there, or it says no.
    """
    sock = socket.create_connection((host, port), timeout=5)
    try:
        _subscribe(sock, pattern)
    except BaseException:
        sock.close()
        raise
    return sock


def _subscribe(sock: socket.socket, pattern: str) -> None:
    # As little as the kernel allows, so that it is the broker that has to keep things.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    level_flags_keepalive = bytes([4, _CLEAN_SESSION, 0, 0])
    sock.sendall(_packet(_CONNECT, _text("MQTT") + level_flags_keepalive + _text("deaf")))
    if sock.recv(4, socket.MSG_WAITALL)[3:] != b"\0":
        raise ConnectionRefusedError("the broker refused a subscriber without a name and password")
    sock.sendall(_packet(_SUBSCRIBE, b"\0\1" + _text(pattern) + bytes([_AT_LEAST_ONCE])))


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(kind: int, body: bytes) -> bytes:
    """A packet of up to 127 bytes, whose length is one byte."""
    return bytes([kind, len(body)]) + body
