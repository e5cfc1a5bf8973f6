"""When a journalled request that failed is tried again, and when that is its outcome. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FOR_GOOD: Final = frozenset({"bad-input", "too-large"})
"""What is wrong with the request itself: no other time would do."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a gateway is; seconds and counts."""

    each_s: float = 30.0
    """Deadline of one delivery on the line."""
    tries: int = 5
    """Deliveries that went out and failed: more is taken for the request's own fault."""
    first_pause_s: float = 0.5
    """Before the next delivery; doubles each time."""
    longest_pause_s: float = 30.0


def pause_s(pace: Pace, reason: str, *, sent: int, tries: int, failures: int) -> float | None:
    """Seconds until it is delivered again; None: it has failed.

    Args:
        pace: how patient.
        reason: of the failure, as the client says it.
        sent: how often it went out this time. What never did says nothing of it: the line was not there.
        tries: earlier deliveries that went out and failed, in all lives of the gateway.
        failures: deliveries in a row that failed for whatever reason, in this life.
    """
    if reason in FOR_GOOD or (sent and tries + 1 >= pace.tries):
        return None
    return min(pace.first_pause_s * 2.0 ** min(failures, 16), pace.longest_pause_s)
