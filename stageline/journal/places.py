"""Where outcomes are shown. A place can tell afterwards whether it has shown one: that is what makes it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from stageline.journal.records import Outcome


class Place(Protocol):
    """What the gateway asks of it, in this order; each is done, for good, when it returns."""

    @property
    def name(self) -> str:
        """What the journal writes down, so that a later gateway finds it again."""

    async def prepare(self, outcomes: Sequence[Outcome]) -> Mapping[str, str]:
        """All but showing them; the journal does not call them outcomes yet, so they may still be others.

        Returns:
            By request, why this one alone cannot be shown, and what to do.
        """

    async def show(self, outcomes: Sequence[Outcome]) -> None:
        """Let them be seen; the journal says that they are arriving."""

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """A gateway before us had begun to show these: each has been seen, once, when this returns."""
