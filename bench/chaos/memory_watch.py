"""How much memory each service holds while something happens: before, at most, and after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Held:
    """Resident bytes of one service."""

    before: int
    peak: int
    after: int

    @property
    def grown(self) -> int:
        """How far it rose above where it began, bytes."""
        return self.peak - self.before

    def __str__(self) -> str:
        return " -> ".join(f"{nbytes / 1e6:.0f}" for nbytes in (self.before, self.peak, self.after)) + " MB"


@dataclass
class MemoryWatch:
    """Looks at the memory of all services a few times a second, by their names in `resident_bytes`."""

    resident_bytes: Callable[[], Mapping[str, int]]
    _before: dict[str, int] = field(default_factory=dict)
    _peak: dict[str, int] = field(default_factory=dict)

    def look(self) -> Mapping[str, int]:
        """One look; the first is what everything is compared with."""
        now = dict(self.resident_bytes())
        self._before = self._before or now
        self._peak = {name: max(nbytes, self._peak.get(name, 0)) for name, nbytes in now.items()}
        return now

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_S)

    def held(self) -> dict[str, Held]:
        """What each service held, after one more look."""
        after = self.look()
        return {name: Held(self._before.get(name, nbytes), self._peak[name], nbytes) for name, nbytes in after.items()}
