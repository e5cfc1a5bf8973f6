"""How hot the processor is, from psutil's sensors or `/sys/class/thermal`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

_CPU_WORDS: Final = ("cpu", "coretemp", "k10temp", "zenpower", "x86_pkg_temp", "soc", "package", "tctl", "tdie")
_PLAUSIBLE_C: Final = (-40.0, 125.0)
_SENSORS: Final[Callable[[], Mapping[str, Sequence[Any]]]] = getattr(psutil, "sensors_temperatures", dict)
"""Not on macOS and Windows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One sensor: the chip and label it names itself by, degrees Celsius."""

    name: str
    celsius: float

    @property
    def of_cpu(self) -> bool:
        """Whether its name says that it sits in the processor."""
        name = self.name.lower()
        return any(word in name for word in _CPU_WORDS)


def pick(readings: Iterable[Reading]) -> float | None:
    """The hottest processor sensor, or the hottest of any kind when none names the processor.

    Zero and values outside of what silicon survives are sensors that are not connected, or constants.
    """
    low, high = _PLAUSIBLE_C
    alive = [reading for reading in readings if low < reading.celsius < high and reading.celsius != 0]
    chosen = [reading for reading in alive if reading.of_cpu] or alive
    return max((reading.celsius for reading in chosen), default=None)


class Thermometer:
    """Reads one number. Where the processor has a thermal zone, that single small file is preferred."""

    def __init__(
        self, *, root: Path = Path("/"), sensors: Callable[[], Mapping[str, Sequence[Any]]] = _SENSORS
    ) -> None:
        self._sensors = sensors
        zones = list(_zones(root))
        self._cpu_zones = [path for path, reading in zones if reading.of_cpu and pick([reading]) is not None]
        self._any_zones = [path for path, _ in zones]

    def read(self) -> float | None:
        """Degrees Celsius now; None where nothing measures them."""
        if self._cpu_zones:
            return pick(_read_zones(self._cpu_zones))
        listed = [
            Reading(f"{chip} {sensor.label}", sensor.current)
            for chip, sensors in self._sensors().items()
            for sensor in sensors
        ]
        return pick(listed or _read_zones(self._any_zones))


def _zones(root: Path) -> Iterable[tuple[Path, Reading]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        yield from ((zone, reading) for reading in _read_zones([zone]))


def _read_zones(zones: Iterable[Path]) -> list[Reading]:
    readings = []
    for zone in zones:
        try:
            readings.append(Reading((zone / "type").read_text().strip(), int((zone / "temp").read_text()) / 1000))
        except (OSError, ValueError):
            continue  # a zone that is switched off answers with an error
    return readings
