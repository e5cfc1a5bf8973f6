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

from schemas.accuracy import Seen
from schemas.plan import Plan, stage_id
from schemas.stages import Timing

REPORTS: Final = 5
"""In a row that must agree, of each witness: about one a second."""
ACCUSERS: Final = 2
SEEN_WITHIN_S: Final = 3.0
"""What a submitter told longer ago says nothing of now."""
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
            for place, stage in enumerate(route.stages):
                if stage.device != timing.device:
                    continue
                name, after = stage_id(number, place), stage_id(number, place + 1)
                if frames.get(name):
                    passages[name] = Passage()
                    elsewhere = place + 1 < len(route.stages) and route.stages[place + 1].device != timing.device
                    follows = elsewhere and handed_on[name] > 0
                    known = passages.get(after, Passage())
                    passages[after] = replace(known, given=known.given + 1) if follows else known
                elif resting:
                    known = passages.get(name, Passage())
                    passages[name] = replace(known, empty=known.empty + 1)
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
            for place, stage in enumerate(route.stages):
                passage = self.passages.get(stage_id(number, place), Passage())
                witnessed = accusers >= 1 and passage.given >= REPORTS if place else accusers >= ACCUSERS
                if witnessed and passage.empty >= REPORTS:
                    before = route.stages[place - 1].device if place else f"{accusers} submitters"
                    holes[stage.device] = f"swallows frames: {before} sent them, none came through, nothing is answered"
                    break
        return holes
