"""Jetson boards: INA3221 current monitors on the supply rails.

Three generations of driver show the same chip differently:
- hwmon: `in1_label`, `in1_input` (mV) and `curr1_input` (mA), L4T 34 and later;
- hwmon with `power1_input` (microwatts);
- iio: `rail_name_0` and `in_power0_input` (mW), L4T 32 and before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TOTAL_RAILS: Final = ("VDD_IN", "POM_5V_IN", "VIN", "5V_IN")
"""Rails through which everything comes; where there is one, it is the whole board."""
_INSIDE_ANOTHER_RAIL: Final = ("VDDQ_VDD2_1V8AO", "NC")
"""AGX Orin's memory rail is fed from VIN_SYS_5V0, and NC is not connected: neither may be added."""
_CHANNELS: Final = range(1, 4)


@dataclass(frozen=True, slots=True)
class Rail:
    """One monitored rail and how to read its watts."""

    label: str
    watts: Callable[[], float | None]


class Ina3221:
    """Sums the rails that make up the whole board."""

    def __init__(self, rails: tuple[Rail, ...]) -> None:
        self._rails = rails

    @classmethod
    def find(cls, *, root: Path = Path("/")) -> Ina3221 | None:
        """The board's chips, or None when there is none or it cannot be read."""
        drivers = root / "sys/bus/i2c/drivers"
        chips = [chip for driver in sorted(drivers.glob("ina3221*")) for chip in sorted(driver.glob("*-*"))]
        rails = top_level([rail for chip in chips for rail in _rails_of(chip)])
        return cls(rails) if rails and all(rail.watts() is not None for rail in rails) else None

    @property
    def source(self) -> str:
        """Names the rails that are added up."""
        return f"INA3221 {'+'.join(rail.label for rail in self._rails)}"

    async def watts(self) -> float | None:
        """Sum over the rails; None when one of them cannot be read, since a part would pass for the whole."""
        readings = [rail.watts() for rail in self._rails]
        known = [reading for reading in readings if reading is not None]
        return sum(known) if len(known) == len(readings) else None


def top_level(rails: Iterable[Rail]) -> tuple[Rail, ...]:
    """The one rail that feeds all others, or else all rails that are not inside another."""
    listed = tuple(rails)
    for rail in listed:
        if rail.label.upper() in _TOTAL_RAILS:
            return (rail,)
    return tuple(rail for rail in listed if rail.label.upper() not in _INSIDE_ANOTHER_RAIL)


def _rails_of(chip: Path) -> Iterable[Rail]:
    for hwmon in sorted(chip.glob("hwmon/hwmon*")):
        for channel in _CHANNELS:
            label = _text(hwmon / f"in{channel}_label") or _text(hwmon / f"power{channel}_label")
            if label and (hwmon / f"curr{channel}_input").exists():
                yield Rail(label, _product(hwmon / f"in{channel}_input", hwmon / f"curr{channel}_input"))
            elif label and (hwmon / f"power{channel}_input").exists():
                yield Rail(label, _scaled(hwmon / f"power{channel}_input", 1e-6))
    for device in sorted(chip.glob("iio:device*")):
        for channel in range(3):
            label = _text(device / f"rail_name_{channel}")
            if label and (device / f"in_power{channel}_input").exists():
                yield Rail(label, _scaled(device / f"in_power{channel}_input", 1e-3))


def _product(millivolts: Path, milliamperes: Path) -> Callable[[], float | None]:
    def watts() -> float | None:
        volts, amperes = _number(millivolts), _number(milliamperes)
        return None if volts is None or amperes is None else max(0.0, volts * amperes * 1e-6)

    return watts


def _scaled(file: Path, factor: float) -> Callable[[], float | None]:
    def watts() -> float | None:
        number = _number(file)
        return None if number is None else max(0.0, number * factor)

    return watts


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None
