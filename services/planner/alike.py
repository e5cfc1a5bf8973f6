"""Whether facts have changed enough to be worth another look. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.plan import ExitRule
from services.planner.facts import DeviceFacts

WORTH_A_LOOK: Final = 0.03
"""Facts that all differ by less than this share since the last review need no other."""


def same_mix(before: Sequence[ExitRule], after: Sequence[ExitRule]) -> bool:
    """Whether about as many requests leave at each exit as did."""
    return len(before) == len(after) and all(
        abs(one.share - other.share) <= WORTH_A_LOOK for one, other in zip(before, after, strict=True)
    )


def alike(before: Sequence[DeviceFacts], after: Sequence[DeviceFacts]) -> bool:
    """Whether nothing has changed that would be worth another review."""
    return len(before) == len(after) and all(map(_alike, before, after))


def _alike(before: DeviceFacts, after: DeviceFacts) -> bool:
    return (before.name, before.profile, before.max_packet_bytes) == (
        after.name, after.profile, after.max_packet_bytes,
    ) and all(near(*pair, WORTH_A_LOOK) for pair in zip(_numbers(before), _numbers(after), strict=True))  # fmt: skip


def _numbers(facts: DeviceFacts) -> tuple[float, ...]:
    link = facts.link
    return (
        facts.slowdown, facts.frame_slowdown, facts.memory_budget_bytes, link.up_mbps, link.down_mbps, 1 + link.rtt_ms,
    )  # fmt: skip


def near(before: float | None, after: float, tolerance: float = 0.05) -> bool:
    """Whether two numbers differ by no more than a share of the larger one."""
    return before is not None and abs(after - before) <= tolerance * max(abs(before), abs(after))
