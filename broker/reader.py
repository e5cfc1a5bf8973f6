"""From bytes as they arrive to whole MQTT packets. Pure: it is told how much came, and never touches a socket."""

from __future__ import annotations

from typing import Final

import numpy as np

from broker.packet import PacketError, read_variable_length

_CHUNK_BYTES: Final = 1 << 16
_LONGEST_HEAD: Final = 5
_GIVEN_AWAY_BYTES: Final = _CHUNK_BYTES // 4


class PacketReader:
    """Receive into `space()`, then ask `received(n)` for the packets that are complete.

    Small packets share a chunk, several to one receive; a packet larger than that gets a buffer of its exact size
    and is received straight into it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._chunk = _memory(_CHUNK_BYTES)
        self._held = 0
        self._large: memoryview | None = None
        self._large_first = 0
        self._large_held = 0

    def space(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        return self._chunk[self._held :] if self._large is None else self._large[self._large_held :]

    @property
    def expects_more(self) -> bool:
        """A packet has begun and not ended."""
        return self._large is not None or self._held > 0

    def received(self, nbytes: int) -> list[tuple[int, memoryview]]:
        """First byte and body of each packet that `nbytes` more bytes have completed.

        Raises:
            PacketError: not MQTT, or a packet larger than we announced to take.
        """
        if self._large is None:
            self._held += nbytes
            return self._split()
        self._large_held += nbytes
        if self._large_held < len(self._large):
            return []
        body, self._large = self._large, None
        return [(self._large_first, body)]

    def _split(self) -> list[tuple[int, memoryview]]:
        packets: list[tuple[int, memoryview]] = []
        chunk, position = self._chunk[: self._held], 0
        while position < len(chunk):
            try:
                length, start = read_variable_length(chunk, position + 1)
            except IndexError:
                break
            if length > self._most_bytes:
                raise PacketError(f"a packet of {length} bytes; {self._most_bytes} were announced as the most")
            end = start + length
            if end > len(chunk):
                if length > _CHUNK_BYTES - _LONGEST_HEAD:
                    self._begin_large(chunk[position], chunk[start:], length)
                    position = len(chunk)
                break
            body = chunk[start:end]
            if length >= _GIVEN_AWAY_BYTES:
                # Most of the chunk: it goes with the packet, and a new one takes its place.
                self._chunk = _memory(_CHUNK_BYTES)
            else:
                body = memoryview(bytes(body))
            packets.append((chunk[position], body))
            position = end
        rest = bytes(chunk[position:])
        self._chunk[: len(rest)] = rest
        self._held = len(rest)
        return packets

    def _begin_large(self, first: int, beginning: memoryview, length: int) -> None:
        self._large = _memory(length)
        self._large[: len(beginning)] = beginning
        self._large_first, self._large_held = first, len(beginning)


def _memory(nbytes: int) -> memoryview:
    """Not zeroed: every byte that is looked at has been received."""
    return np.empty(nbytes, np.uint8).data
