"""What was dropped or refused: counted by reason, and logged often enough to be found, not to flood."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

_LOG = logging.getLogger("broker.bus")
_LOG_EVERY_S: Final = 5.0
_MOST_LOGGED: Final = 300


class Rejections:
    """A counter per reason, and at most one short log line per reason every five seconds."""

    def __init__(self, log: logging.Logger = _LOG, what: str = "dropped a message on") -> None:
        """`what` begins each line; the address follows."""
        self.counts: Counter[str] = Counter()
        self._log = log
        self._what = what
        self._logged: dict[str, tuple[float, int]] = {}

    def add(
        self,
        reason: str,
        address: str,
        detail: str,
        *,
        bug: BaseException | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        """One more on `address` because of `reason`; a `bug` is logged as an error, with its traceback.

        Reasons are a few fixed words: each is kept. `fields` go with the log line.
        """
        self.counts[reason] += 1
        when, count = self._logged.get(reason, (-_LOG_EVERY_S, 0))
        now = time.monotonic()
        if now - when < _LOG_EVERY_S:
            return
        unsaid = self.counts[reason] - count - 1
        self._logged[reason] = (now, self.counts[reason])
        self._log.log(
            logging.ERROR if bug else logging.WARNING,
            "%s %s (%s): %s%s",
            self._what,
            clipped(address),
            reason,
            clipped(detail),
            f"; and {unsaid} more of this kind since the last line" if unsaid else "",
            exc_info=bug,
            extra=fields,
        )


def clipped(text: str, most: int = _MOST_LOGGED) -> str:
    """At most so many characters of what somebody else may have made long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
