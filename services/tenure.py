"""Whose a name is: what to do when somebody else speaks under it. Of two that are both there, one has to go: the
newcomer, or the one that was away meanwhile. Whoever has held a name undisturbed stays, whatever is said under it: on a
broker without users, anybody can say anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal, Protocol

NEW_S: Final = 15.0
"""After starting or reconnecting, a name is not certain: that a holder vanished, or is back, may not be noticed yet."""

Standing = Literal["new", "back", "settled"]
"""How certain it is: just started, just reconnected, or undisturbed for long."""
Verdict = Literal["ours", "announce", "yield"]


class State(Protocol):
    """What is said under a name."""

    @property
    def online(self) -> bool:
        """Somebody is there."""

    @property
    def boot_id(self) -> str:
        """In which life."""


class Tenure:
    """One life under one name, from now on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s = clock() + NEW_S
        self._was_away = False
        self._rival = ""

    @property
    def standing(self) -> Standing:
        """How certain the name is now."""
        if self._clock() > self._until_s:
            return "settled"
        return "back" if self._was_away else "new"

    async def is_back(self) -> None:
        """The connection was lost and is there again."""
        self._until_s = self._clock() + NEW_S
        self._was_away = True
        self._rival = ""

    def doubts(self, rival: str) -> bool:
        """Whether that one life was not seen before: one word may be a lie, the answer to a question hardly is."""
        known, self._rival = self._rival == rival, rival
        return not known


def verdict(state: State | None, *, retained: bool, boot_id: str, standing: Standing = "new") -> Verdict:
    """What the holder `boot_id` of a name does about a state (None: it was removed) that it sees under it.

    Of two that are new, the one with the smaller boot id (the earlier one) stays; who was away gives way to whoever
    is there. A retained state proves nothing about being there: it may be left from a life whose will is still on its
    way.
    """
    if state is None or not state.online:
        return "announce"
    if state.boot_id == boot_id:
        return "ours"
    if retained or standing == "settled" or (standing == "new" and state.boot_id > boot_id):
        return "announce"
    return "yield"
