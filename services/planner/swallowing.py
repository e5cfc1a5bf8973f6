"""Which device swallows the frames it is given, though it answers whenever it is asked. Pure.

A device's word for itself is not enough here, and nor is one accusation by others. It counts as swallowing when three
agree, report after report: its own heartbeat (at rest, not one frame through this stage), the stage before it, on
another device (frames through it all the time), and a submitter (requests under way on this route, and no answer). For
a first stage there is no stage before it; there, `ACCUSERS` submitters must have had no answer. So no single client
can have a device left out, and a slow device or a link without traffic is not mistaken for one that swallows.

    swallowing = Swallowing(plan).with_timing(timing).with_seen(seen, now_s)
    swallowing.found(now_s)  # {"pi4": "swallows frames: ..."}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import SEEN_WITHIN_S, Seen
from schemas.parts import Part, parts_of
from schemas.plan import Plan, Route
from schemas.stages import Timing

REPORTS: Final = 5
"""In a row that must agree, of each witness: about one a second."""
ACCUSERS: Final = 2
_MOST_SUBMITTERS: Final = 256
"""Times routes that are remembered."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One stage, since a frame last went through it."""

    empty: int = 0
    """Reports of its own device without a frame, at rest."""
    given: int = 0
    """Reports of the stage before with frames."""


@dataclass(frozen=True, slots=True)
class Silence:
    """One submitter on one route: reports in a row of requests without an answer, and when the last came, s."""

    reports: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Swallowing:
    """What is known of the stages of one plan."""

    plan: Plan
    passages: Mapping[str, Passage] = field(default_factory=dict)
    silences: Mapping[tuple[int, str], Silence] = field(default_factory=dict)

    def with_timing(self, timing: Timing) -> Swallowing:
        """After a worker's report; a stage that is not in it had no frame."""
        frames: dict[str, int] = {}
        handed_on: dict[str, int] = {}
        for one in timing.stages:
            if (one.deployment, one.generation) == (self.plan.deployment, self.plan.generation):
                frames[one.stage] = frames.get(one.stage, 0) + one.frames
                left = sum(met.left for met in one.exits)
                handed_on[one.stage] = handed_on.get(one.stage, 0) + one.frames - left
        passages = dict(self.passages)
        resting = timing.queue_depth == 0 and timing.stuck_s == 0
        for number, route in enumerate(self.plan.routes):
            for part, after in _followed(route, number):
                if part.device != timing.device:
                    continue
                known = passages.get(part.stage, Passage())
                if frames.get(part.stage):
                    passages[part.stage] = Passage()
                    if after is not None and after.device != timing.device and handed_on[part.stage] > 0:
                        known = passages.get(after.stage, Passage())
                        passages[after.stage] = replace(known, given=known.given + 1)
                elif resting:
                    passages[part.stage] = replace(known, empty=known.empty + 1)
        return replace(self, passages=passages)

    def with_seen(self, seen: Seen, now_s: float) -> Swallowing:
        """After a submitter's report; routes on which it waits for nothing say nothing."""
        if (seen.deployment, seen.generation) != (self.plan.deployment, self.plan.generation):
            return self
        silences = {key: one for key, one in self.silences.items() if now_s - one.at_s < SEEN_WITHIN_S}
        for one in seen.routes:
            key = one.route, seen.submitter
            if one.answers:
                silences.pop(key, None)
            elif one.waiting and (key in silences or len(silences) < _MOST_SUBMITTERS):
                silences[key] = Silence(silences[key].reports + 1 if key in silences else 1, now_s)
        return replace(self, silences=silences)

    def found(self, now_s: float) -> dict[str, str]:
        """Devices that swallow frames, and what is said of them."""
        holes: dict[str, str] = {}
        for number, route in enumerate(self.plan.routes):
            accusers = sum(
                one.reports >= REPORTS and now_s - one.at_s < SEEN_WITHIN_S
                for (of, _), one in self.silences.items()
                if of == number
            )
            parts = parts_of(route, number)
            bands = len(parts) - len(route.stages)
            passages = [self.passages.get(part.stage, Passage()) for part in parts]
            for place, (part, passage) in enumerate(zip(parts, passages, strict=True)):
                if place == 0 or place < bands:
                    witnessed, before = accusers >= ACCUSERS, f"{accusers} submitters"
                else:
                    witnessed, before = accusers >= 1 and passage.given >= REPORTS, parts[place - 1].device
                if place == bands and any(band.empty for band in passages[:bands]):
                    continue  # where a band is missing, nothing can come through the stage that joins them
                if witnessed and passage.empty >= REPORTS:
                    holes[part.device] = f"swallows frames: {before} sent them, none came through, nothing is answered"
                    break
        return holes


def _followed(route: Route, number: int) -> list[tuple[Part, Part | None]]:
    """Every part of a route, and the one that it hands frames on to."""
    parts = parts_of(route, number)
    bands = len(parts) - len(route.stages)
    after = [*([parts[bands]] * bands), *parts[bands + 1 :], None]
    return list(zip(parts, after, strict=True))
