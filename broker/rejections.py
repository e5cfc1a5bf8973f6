"""What was dropped at the edge of the bus: counted by reason, and logged often enough to be found, not to flood."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Final

_LOG = logging.getLogger("broker.bus")
_LOG_EVERY_S: Final = 5.0


class Rejections:
    """A counter per reason, and at most one log line per reason every five seconds."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}

    def add(self, reason: str, address: str, detail: str) -> None:
        """One message on `address` was dropped because of `reason`."""
        self.counts[reason] += 1
        when, count = self._logged.get(reason, (-_LOG_EVERY_S, 0))
        now = time.monotonic()
        if now - when < _LOG_EVERY_S:
            return
        unsaid = self.counts[reason] - count - 1
        self._logged[reason] = (now, self.counts[reason])
        _LOG.warning(
            "dropped a message on %s (%s): %s%s",
            address,
            reason,
            detail,
            f"; and {unsaid} more of this kind since the last line" if unsaid else "",
        )
