"""The least that can carry tensors between two processes: a length, then the tensors' own bytes, one after another."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from schemas.codec import Array
from schemas.model import TensorSpec

_LENGTH: Final = struct.Struct("!Q")


def send(connection: socket.socket, specs: Sequence[TensorSpec], tensors: Mapping[str, Array]) -> None:
    """One frame; both ends know names, types and shapes from the model's card."""
    connection.sendall(_LENGTH.pack(sum(spec.nbytes for spec in specs)))
    for spec in specs:
        connection.sendall(np.ascontiguousarray(tensors[spec.name]).data.cast("B"))


def receive(connection: socket.socket, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The next frame.

    Raises:
        ConnectionError: the other end left.
    """
    frame = _exactly(connection, _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0])
    found: dict[str, Array] = {}
    offset = 0
    for spec in specs:
        flat = np.frombuffer(frame, dtype=spec.dtype, count=math.prod(spec.shape), offset=offset)
        found[spec.name] = flat.reshape(spec.shape)
        offset += spec.nbytes
    return found


def listen() -> tuple[socket.socket, int]:
    """A socket for those who come, and its port, which the system picked among the free ones."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def connect(port: int) -> socket.socket:
    """A connection that does not wait for more to send."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _exactly(connection: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = connection.recv_into(view)
        if got == 0:
            raise ConnectionError("the other end of this line left; its own log says why")
        view = view[got:]
    return buffer
