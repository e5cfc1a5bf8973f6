"""Raspberry Pi 5: its power chip tells volts and amperes of every rail (`vcgencmd pmic_read_adc`).

Older Pis have nothing of the kind. What hangs on the USB ports and what the converters lose is not in these figures.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from services.monitor.command import Runner, run_command

_COMMAND: Final = ("vcgencmd", "pmic_read_adc")
_LINE: Final = re.compile(r"^\s*(?P<rail>\w+)_(?P<quantity>[AV]) (?:current|volt)\(\d+\)=(?P<value>[0-9.]+)[AV]\s*$")
_ASK_EVERY_S: Final = 2.0
"""Starting a process costs the Pi some milliseconds, and we may use ten in a second."""


def parse_pmic(text: str) -> float | None:
    """Watts: volts times amperes, summed over the rails that give both; None when there is no such rail."""
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for line in text.splitlines():
        if match := _LINE.match(line):
            (amperes if match["quantity"] == "A" else volts)[match["rail"]] = float(match["value"])
    rails = amperes.keys() & volts.keys()
    return sum(amperes[rail] * volts[rail] for rail in rails) if rails else None


class Pmic:
    """Asks at most every two seconds, and gives the last figure in between."""

    source = "vcgencmd pmic_read_adc, sum of the rails (without USB devices and conversion losses)"

    def __init__(self, *, run: Runner = run_command, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._asked_at = float("-inf")
        self._last: float | None = None

    @classmethod
    async def find(cls, *, run: Runner = run_command) -> Pmic | None:
        """The chip, or None when `vcgencmd` is missing or knows of none."""
        pmic = cls(run=run)
        return pmic if await pmic.watts() is not None else None

    async def watts(self) -> float | None:
        """Watts, at most two seconds old."""
        now = self._clock()
        if now - self._asked_at >= _ASK_EVERY_S:
            self._asked_at = now
            self._last = parse_pmic(await self._run(_COMMAND) or "")
        return self._last
