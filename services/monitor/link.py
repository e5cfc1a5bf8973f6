"""What probes say of a link, as values: from raw times to rates, and which of the past still counts.

The probes share the network with the frames: while many flow, a probe sees what is left of the link. Whoever plans
with the result adds what flowed meanwhile (`services.planner.condition`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

SLOWEST_MBPS: Final = 0.01
FASTEST_MBPS: Final = 20_000.0
"""Results are kept between these: noise can make a difference of times zero or negative, and nothing is infinite."""
SMALLEST_PROBE_BYTES: Final = 8 << 10
LONG_ENOUGH_S: Final = 0.02
"""A probe that takes this long stands out of the noise of a busy small computer."""
TOO_LONG_S: Final = 0.2
REMEMBERED: Final = 3
DIFFERS: Final = 2.5
"""Rates so many times apart are not of the same link any more."""
_DIFFERS_MS: Final = 20.0
"""Round trips differ from so much on: shorter ones are scheduling."""


@dataclass(frozen=True, slots=True)
class Times:
    """Raw times of one probe, s."""

    small_acks: list[float]
    large_acks: list[float]
    small_echoes: list[float]
    large_echoes: list[float]
    probe_bytes: int


@dataclass(frozen=True, slots=True)
class Link:
    """What one probe says."""

    rtt_ms: float
    up_mbps: float
    down_mbps: float
    probe_bytes: int


def estimate(times: Times) -> Link:
    """Round trip, and what a large message takes longer than a small one, each way; of medians.

    On a busy device noise can swallow one of the two differences. Then that direction is taken to be like the other,
    as most links are: a slow link that looks infinitely fast one way would be given work that it cannot carry.
    """
    rtt = median(times.small_echoes)
    up = median(times.large_acks) - median(times.small_acks)
    down = median(times.large_echoes) - max(0.0, up) - rtt
    least = times.probe_bytes * 8e-6 / FASTEST_MBPS
    if up < least < down:
        up = down
    elif down < least < up:
        down = up
    return Link(rtt * 1e3, _mbps(times.probe_bytes, up), _mbps(times.probe_bytes, down), times.probe_bytes)


def _mbps(nbytes: int, seconds: float) -> float:
    megabits = nbytes * 8e-6
    return min(FASTEST_MBPS, max(SLOWEST_MBPS, megabits / max(seconds, megabits / FASTEST_MBPS)))


def settle(recent: Sequence[Link]) -> Link:
    """Medians over the last few probes, so that one that met a burst of frames changes little.

    Of the round trips the least: frames that wait in front of a probe only make it longer.
    """
    return Link(
        min(link.rtt_ms for link in recent),
        median(link.up_mbps for link in recent),
        median(link.down_mbps for link in recent),
        recent[-1].probe_bytes,
    )


def resize(probe_bytes: int, took_s: float, most_bytes: int) -> int:
    """The next probe's size: four times as large when this one was too quick to tell, a quarter when too slow."""
    if took_s < LONG_ENOUGH_S:
        return min(probe_bytes * 4, most_bytes)
    if took_s > TOO_LONG_S:
        return min(max(probe_bytes // 4, SMALLEST_PROBE_BYTES), most_bytes)
    return min(probe_bytes, most_bytes)


def differs(link: Link, other: Link) -> bool:
    """Whether two probes can hardly be of the same link."""
    rates = ((link.up_mbps, other.up_mbps), (link.down_mbps, other.down_mbps))
    if any(max(pair) > DIFFERS * min(pair) for pair in rates):
        return True
    trips = (link.rtt_ms, other.rtt_ms)
    return max(trips) > DIFFERS * min(trips) and max(trips) - min(trips) > _DIFFERS_MS


def remember(recent: Sequence[Link], *probes: Link) -> tuple[Link, ...]:
    """The probes that count from now on.

    Two in a row that both contradict what was known say that the link has changed: the past is forgotten. One alone
    may have met a burst of frames, and is left to the median.
    """
    if len(probes) > 1 and recent and all(differs(probe, settle(recent)) for probe in probes):
        return probes
    return (*recent, *probes)[-REMEMBERED:]
