"""Whose turn it is when several want one thread: each gets its share of the time, by weight. Pure; no clock, no lock.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): next is who has had the least time for its weight. What a
turn takes need not be known before it is over. While two of them always have something waiting, the time that each has
had for its weight differs by at most one turn of the one and one turn of the other, however long they go on (their
theorem 1; a turn counts for its owner's weight too). Within one owner's line it is first come, first served.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Owner(Generic[T]):
    had_s: float
    """Time for its weight: seconds of the thread, divided by the weight."""
    weight: float = 1.0
    waiting: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Lines of what waits, one for each owner. `put`; then `turn`, take from that line, and `charge` what it took."""

    def __init__(self) -> None:
        self._owners: dict[str, _Owner[T]] = {}
        self._now_s = 0.0
        """What the owner of the latest turn had had when it began."""
        self._latest: _Owner[T] | None = None

    def __bool__(self) -> bool:
        """Something waits."""
        return any(owner.waiting for owner in self._owners.values())

    def put(self, owner: str, weight: float, item: T) -> None:
        """One more at the end of `owner`'s line.

        Args:
            owner: whose it is.
            weight: above 0; its share of the time relative to others', from now on.
            item: what waits.
        """
        known = self._owners.get(owner)
        if known is None:
            self._forget()
            known = self._owners[owner] = _Owner(self._now_s)
        elif not known.waiting:
            # Time that nobody asked for cannot be saved up; time that was had in advance is still owed.
            known.had_s = max(known.had_s, self._now_s)
        known.weight = weight
        known.waiting.append(item)

    def turn(self) -> deque[T]:
        """The line of whoever is next, oldest first, to take one or several from; empty when nobody waits."""
        self._latest = min(
            (owner for owner in self._owners.values() if owner.waiting), key=lambda owner: owner.had_s, default=None
        )
        if self._latest is None:
            return deque()
        self._now_s = self._latest.had_s
        return self._latest.waiting

    def charge(self, seconds: float) -> None:
        """The latest turn took so long."""
        if self._latest is not None:
            self._latest.had_s += seconds / self._latest.weight

    def rest(self) -> None:
        """Nobody wants anything now: all are even again, and those who never come back are forgotten."""
        self._owners.clear()
        self._latest = None
        self._now_s = 0.0

    def _forget(self) -> None:
        """Those who neither wait nor owe: as newcomers they would start where they are."""
        self._owners = {
            name: one
            for name, one in self._owners.items()
            if one.waiting or one.had_s > self._now_s or one is self._latest
        }
