"""Routes that are much slower than they should be, though their stages are not: then a link is suspected. Pure.

Links are probed now and then only, and a probe costs a slow link something. Submitters see every request: where a
route's latency is far above what is expected of so many requests under way, and what its stages take does not explain
it, two reports in a row (one, if most answers took very much longer), the monitors of its devices are asked to probe
at once. A device is asked again after `ASK_AGAIN_S`, and after twice as long each time that this has changed nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import RouteSeen
from schemas.plan import Route
from services.planner.doubling import doubled

TIMES: Final = 1.5
MORE_MS: Final = 20.0
"""Less than this is scheduling, whatever share of a short latency it is."""
VERY: Final = 4.0
"""As many times longer is worth two reports."""
REPORTS: Final = 2
ASK_AGAIN_S: Final = 5.0
ASK_AGAIN_MOST_S: Final = 60.0
_SAME_REPORT_S: Final = 0.5
"""Reports of several submitters that come closer together count as one."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """About one route: how many reports in a row it looked wrong, and when that began to be told last, s."""

    reports: int = 0
    at_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class Asked:
    """About the link of one device: how many times since all was well last, and when last, s."""

    times: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Doubts about the routes of one plan, and whose links were asked about."""

    generation: int = 0
    doubts: Mapping[int, Doubt] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """By device."""

    def with_report(
        self, generation: int, route: int, *, slow: int, devices: tuple[str, ...], now_s: float
    ) -> tuple[Suspicion, tuple[str, ...]]:
        """After one report about a route; also gives the devices whose links are to be probed now.

        Args:
            generation: of the plan.
            route: its number.
            slow: how wrong it looked (`how_slow`).
            devices: of the route.
            now_s: when, by any clock that only grows.
        """
        base = self if self.generation == generation else Suspicion(generation, asked=self._asked_lately(now_s))
        doubt = base.doubts.get(route, Doubt())
        if not slow:
            calm = {name: replace(one, times=1) if name in devices else one for name, one in base.asked.items()}
            return replace(base, doubts={**base.doubts, route: Doubt()}, asked=calm), ()
        if now_s - doubt.at_s < _SAME_REPORT_S:
            return base, ()
        doubt = Doubt(doubt.reports + slow, now_s)
        due = tuple(name for name in devices if doubt.reports >= REPORTS and base._may_ask(name, now_s))
        asked = {name: Asked(base._times(name) + 1, now_s) for name in due}
        after = replace(base, doubts={**base.doubts, route: doubt}, asked={**base.asked, **asked})
        return after, tuple(asked)

    def _times(self, device: str) -> int:
        known = self.asked.get(device)
        return known.times if known is not None else 0

    def _may_ask(self, device: str, now_s: float) -> bool:
        known = self.asked.get(device)
        if known is None:
            return True
        return now_s - known.at_s >= doubled(ASK_AGAIN_S, known.times - 1, ASK_AGAIN_MOST_S)

    def _asked_lately(self, now_s: float) -> dict[str, Asked]:
        """Without those that another plan used long ago."""
        return {name: one for name, one in self.asked.items() if now_s - one.at_s <= 2 * ASK_AGAIN_MOST_S}


def how_slow(seen: RouteSeen, route: Route, *, explained_ms: float, slowness: float, under_way: int) -> int:
    """0 when a route's requests take no longer than expected; 1 when far longer, though its stages do not; 2 when very.

    Args:
        seen: what one submitter saw; the age of its oldest open request counts as a latency, too.
        route: with what is predicted of it now.
        explained_ms: what stages take longer than predicted,
        slowness: and how many times longer the slowest does.
        under_way: requests of all submitters on the route: so many wait for one another.
    """
    predicted = route.predicted
    if predicted is None or not (seen.answers or seen.waiting):
        return 0
    latency_ms = max(seen.latency_ms, seen.silent_s * 1e3)
    in_turn_ms = under_way * 1e3 / predicted.throughput_rps if predicted.throughput_rps > 0 else 0.0
    expected_ms = max(predicted.latency_ms, in_turn_ms * slowness) + explained_ms
    if latency_ms <= max(TIMES * expected_ms, expected_ms + MORE_MS):
        return 0
    return 2 if seen.latency_ms > VERY * expected_ms else 1
