"""Whether a Raspberry Pi's firmware is holding it back: too little voltage, too much heat.

The flags: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled, bits 0 to 3 for now and
16 to 19 for "since boot".
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final, Literal

from schemas.device import Throttling
from services.monitor.command import Runner, run_command

Flag = Literal["under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"]
_FLAGS: Final[tuple[Flag, ...]] = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
_SINCE_BOOT_SHIFT: Final = 16
_SYSFS: Final = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
_ASK_EVERY_S: Final = 5.0
"""Starting `vcgencmd` costs a Pi some milliseconds; the sysfs file costs next to nothing and is read each time."""


def parse_throttled(text: str) -> Throttling | None:
    """From `throttled=0x50005` (vcgencmd) or `50005` (sysfs); None when it is neither."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]+)", text.strip())
    if match is None:
        return None
    bits = int(match[1], 16)
    now = {flag: bool(bits >> place & 1) for place, flag in enumerate(_FLAGS)}
    since = tuple(flag for place, flag in enumerate(_FLAGS) if bits >> (place + _SINCE_BOOT_SHIFT) & 1)
    return Throttling(**now, since_boot=since)


class ThrottlingReader:
    """The flags now; None on anything but a Raspberry Pi."""

    def __init__(self, *, root: Path = Path("/"), run: Runner = run_command) -> None:
        self._file = next(iter(sorted(root.glob(_SYSFS))), None)
        self._run = run
        self._use_command = self._file is None
        self._asked_at = float("-inf")
        self._last: Throttling | None = None

    async def read(self) -> Throttling | None:
        """The firmware's flags; asks `vcgencmd` at most every few seconds, and never again when there is none."""
        if self._file is not None:
            try:
                return parse_throttled(self._file.read_text())
            except OSError:
                self._file, self._use_command = None, True
        now = time.monotonic()
        if self._use_command and now - self._asked_at >= _ASK_EVERY_S:
            self._asked_at = now
            answer = await self._run(("vcgencmd", "get_throttled"))
            self._last = parse_throttled(answer or "")
            self._use_command = self._last is not None
        return self._last
