"""No flood of messages becomes a flood of log lines: of each kind a few are written, and then how many were not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 40
"""Lines of one kind (one place in the code, one level) in a period; one device's whole life takes fewer."""
PERIOD_S: Final = 10.0
_MOST_KINDS: Final = 2000


class LogLimit(logging.Filter):
    """Put it on a handler. Lines beyond the burst are counted; the next period's first line says how many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._written: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written."""
        kind = (record.name, record.levelno, str(record.msg)[:200])
        now = self._clock()
        since, count = self._written.get(kind, (now, 0))
        unsaid = 0
        if now - since >= PERIOD_S:
            unsaid, since, count = max(0, count - BURST), now, 0
        if len(self._written) >= _MOST_KINDS:
            self._written.clear()
        self._written[kind] = since, count + 1
        if count >= BURST:
            return False
        if unsaid:
            record.msg, record.args = f"{record.getMessage()} (and {unsaid} lines like it were left out)", ()
        return True
