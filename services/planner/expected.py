"""What a worker should measure for a stage at this moment, if its profile were the whole truth: from, to.

One frame of the same work takes different times for reasons that say nothing of the device: where in a quota's period
it comes, whether a scheduler lets it run before others because it has slept. For short stages that is a factor of many,
for long ones next to nothing; only what is beyond is worth learning from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from schemas.model import ModelCard
from schemas.plan import CodecName, ExitRule, Plan, Stage
from schemas.plan_text import PlanTextError, stage_places
from schemas.stages import StageTiming
from services.planner.condition import Conditions
from services.planner.cuts import wire_bytes
from services.planner.facts import DeviceFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.quota import TICK_MS
from services.planner.stage_times import stage_times
from services.planner.survival import survival

SLICE_MS: Final = 10.0
"""Who has slept runs before those who compute all the time, for about so long."""
JITTER_MS: Final = 0.5
"""Waking up, clocks, caches."""
_LEAST: Final = 0.1


class Expected(NamedTuple):
    """A time that a stage may take, ms, as far as anybody can tell."""

    least_ms: float
    most_ms: float

    def ratio(self, measured_ms: float) -> float:
        """How many times longer it took than could be expected; 1 within the bounds."""
        if measured_ms > self.most_ms:
            return measured_ms / self.most_ms
        return min(1.0, measured_ms / self.least_ms)


def expected_of(
    plan: Plan, timing: StageTiming, device: str, fleet: Fleet, conditions: Conditions, *, now_s: float
) -> Expected | None:
    """What a frame should take the stage that a report is about, without what was learned of it.

    Args:
        plan: of the report's generation.
        timing: one stage of the report.
        device: whose report it is.
        fleet: for its profile.
        conditions: how the device is doing.
        now_s: now.

    Returns:
        None where nobody can tell: the stage is none of this plan's on this device, or its profile is not known.
    """
    card, said = fleet.cards.get(plan.model), fleet.devices.get(device)
    if card is None or said is None or said.info is None or said.link is None or said.worker is None:
        return None
    profile = said.profile_of(plan.model, plan.card_sha)
    if profile is None or len(profile.block_ms) != len(card.blocks):
        return None
    try:
        route, place = stage_places(timing.stage)
        stages = plan.routes[route].stages
        stage = stages[place]
    except (IndexError, PlanTextError):
        return None
    if stage.device != device or stage.last > len(card.blocks):
        return None
    facts = facts_of(said, profile, plan.deployment)
    facts = facts.at_capacity(conditions.capacity_cores(device) or facts.info.capacity_cores)
    share = conditions.free_share(device, threads=profile.threads)
    codec_in: CodecName = stages[place - 1].codec if place else "fp32"
    return expected(
        replace(facts, free_share=share, correction=1.0),
        card,
        (stage.first, stage.last),
        codecs=(codec_in, stage.codec),
        busy=conditions.own_share(device, now_s),
        exits=_left_here(plan, stage, timing),
    )


def _left_here(plan: Plan, stage: Stage, timing: StageTiming) -> tuple[ExitRule, ...]:
    """The stage's open exits, with the shares of its frames that left there in the period of the report."""
    said = {one.name: one for one in timing.exits if one.met > 0 and one.left <= one.met}
    rules: list[ExitRule] = []
    here = 1.0
    for rule in plan.exits:
        if stage.first <= rule.block < stage.last:
            share = here * said[rule.name].left / said[rule.name].met if rule.name in said else 0.0
            rules.append(rule.model_copy(update={"share": share}))
            here -= share
    return tuple(rules)


def expected(
    facts: DeviceFacts,
    card: ModelCard,
    blocks: tuple[int, int],
    *,
    codecs: tuple[CodecName, CodecName],
    busy: float,
    exits: Sequence[ExitRule] = (),
) -> Expected:
    """What a frame takes a stage of these blocks, codecs included.

    Args:
        facts: of its device.
        card: the model.
        blocks: `[first, last)`.
        codecs: of what comes in and of what goes out.
        busy: share of the device's time that our work takes: at 0 a frame finds a device at rest, at 1 never.
        exits: open ones in these blocks, with the shares of the stage's own frames that left there.
    """
    cuts = [card.cuts[position] for position in blocks]
    wire = np.array([wire_bytes(cut, codec) for cut, codec in zip(cuts, codecs, strict=True)], dtype=np.float64)
    coded = np.array([cut.nbytes if codec != "fp32" else 0.0 for cut, codec in zip(cuts, codecs, strict=True)])
    times = stage_times([facts], np.array(blocks, dtype=np.intp), wire, coded, survival(card, exits))
    sustained = float(times.compute_ms[0, 0, 1] + times.codec_ms[0, 0, 1])
    rested = 1 + (facts.profile.rest_ratio - 1) * (1 - min(1.0, max(0.0, busy)))
    middle = sustained * rested
    undisturbed = middle * facts.free
    least = middle - min(undisturbed, SLICE_MS) * (1 / facts.free - 1)
    most = middle
    cores, period_ms = facts.info.capacity_cores, facts.info.quota_period_ms
    if cores < 1 and period_ms > 0:
        swing = (1 - cores) * period_ms + TICK_MS
        least, most = max(undisturbed * cores, least - swing), most + swing
    return Expected(max(least - JITTER_MS, _LEAST * middle), most + JITTER_MS)
