"""x86: energy counters of the processor (RAPL), which AMD's show in the same place as Intel's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_SHORTEST_S: Final = 0.05
"""The counters move once a millisecond; over less than this the jitter shows."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One energy counter: microjoules that wrap round after `range_uj`."""

    name: str
    file: Path
    range_uj: int


def energy_between(before_uj: int, after_uj: int, range_uj: int) -> int:
    """Microjoules used between two readings of a counter that wraps round at most once in between."""
    return after_uj - before_uj if after_uj >= before_uj else after_uj + range_uj + 1 - before_uj


class Rapl:
    """Watts as the average since the last reading."""

    def __init__(self, zones: tuple[Zone, ...], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._zones = zones
        self._clock = clock
        self._at_s = clock()
        self._before = [_counter(zone.file) for zone in zones]
        self._last: float | None = None

    @classmethod
    def find(cls, *, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> Rapl | None:
        """The counters that together are the processor, or None when there are none that we may read."""
        zones = _zones(root)
        if not zones:
            return None
        if any(_counter(zone.file) is None for zone in zones):
            logger.info(
                "this machine has RAPL energy counters, but only root may read them; "
                "`chmod a+r /sys/class/powercap/intel-rapl*/energy_uj` would let the monitor measure power"
            )
            return None
        return cls(zones, clock=clock)

    @property
    def source(self) -> str:
        """Names the counters that are added up."""
        return f"RAPL {'+'.join(zone.name for zone in self._zones)} (processor only)"

    async def watts(self) -> float | None:
        """Average since the last call."""
        now = self._clock()
        elapsed = now - self._at_s
        if elapsed < _SHORTEST_S:
            return self._last
        after = [_counter(zone.file) for zone in self._zones]
        used = [
            energy_between(old, new, zone.range_uj)
            for zone, old, new in zip(self._zones, self._before, after, strict=True)
            if old is not None and new is not None
        ]
        self._at_s, self._before = now, after
        self._last = sum(used) * 1e-6 / elapsed if len(used) == len(self._zones) else None
        return self._last


def _zones(root: Path) -> tuple[Zone, ...]:
    """`psys` where it exists (it is the whole platform), else every package and the memory beside it."""
    found = []
    # intel-rapl-mmio shows the same package a second time.
    for path in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name = _text(path / "name")
        span = _text(path / "max_energy_range_uj")
        if name and span.isdigit():
            found.append(Zone(name, path / "energy_uj", int(span)))
    platform = tuple(zone for zone in found if zone.name == "psys")
    return platform[:1] or tuple(zone for zone in found if zone.name.startswith("package") or zone.name == "dram")


def _counter(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
