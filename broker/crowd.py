"""How many addresses one subscription follows: whoever subscribes to state keeps it, and anybody may invent names."""

from __future__ import annotations

from typing import Final

MOST_ADDRESSES: Final = 4096
MOST_BYTES: Final = 32 << 20
"""Of payloads, over all addresses; as messages they take several times that."""


class Crowd:
    """The addresses that hold something, first come first served; what is cleared makes room."""

    def __init__(self, most_addresses: int = MOST_ADDRESSES, most_bytes: int = MOST_BYTES) -> None:
        self._most_addresses = most_addresses
        self._most_bytes = most_bytes
        self._kept: dict[str, int] = {}
        self._nbytes = 0

    def admits(self, address: str, nbytes: int) -> bool:
        """Whether there is room for a payload of `nbytes` (0: the address was cleared) in place of its last one."""
        before = self._kept.get(address)
        if nbytes == 0:
            self._nbytes -= self._kept.pop(address, 0)
            # Of what was never there, nobody need hear that it is gone.
            return before is not None
        if before is None and len(self._kept) >= self._most_addresses:
            return False
        if self._nbytes - (before or 0) + nbytes > self._most_bytes:
            return False
        self._kept[address] = nbytes
        self._nbytes += nbytes - (before or 0)
        return True

    def __str__(self) -> str:
        return f"{len(self._kept)} addresses with {self._nbytes / 1e6:.1f} MB are followed already"
