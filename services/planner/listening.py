"""What messages teach of a device: how it does, and how far its stages are from what it measured at rest. Pure.

Each takes what was known before and gives what is known after.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.device import Telemetry
from schemas.parts import part_at
from schemas.plan import Plan
from schemas.stages import Timing
from services.planner.condition import Conditions
from services.planner.corrections import Corrections
from services.planner.exit_shares import ExitShares
from services.planner.expected import expected_of
from services.planner.fleet import Fleet


def after_telemetry(
    conditions: Conditions, corrections: Corrections, name: str, telemetry: Telemetry, *, now_s: float
) -> tuple[Conditions, Corrections]:
    """With a device's telemetry. What its stages taught while its capacity was changing is undone."""
    after = conditions.with_telemetry(name, telemetry, now_s)
    if after.stepped_s(name) > conditions.stepped_s(name):
        corrections = corrections.undone(name, since_s=now_s - after.settle_s(name))
    return after, corrections


def after_timing(
    conditions: Conditions,
    corrections: Corrections,
    name: str,
    timing: Timing,
    *,
    now_s: float,
    fleet: Fleet,
    serving: Mapping[str, Plan],
) -> tuple[Conditions, Corrections]:
    """With the stage times that a device measured, compared with what the plans that are served promise of them."""
    conditions = conditions.with_timing(name, timing, now_s)
    if now_s - conditions.stepped_s(name) <= conditions.settle_s(name):
        return conditions, corrections
    for stage in {(one.deployment, one.generation, one.stage): one for one in timing.stages}.values():
        plan = serving.get(stage.deployment)
        if plan is None or plan.generation != stage.generation or stage.frames == 0:
            continue
        expected = expected_of(plan, stage, name, fleet, conditions, now_s=now_s)
        if expected is not None:
            corrections = corrections.observe(
                name,
                plan.model,
                plan.card_sha,
                ratio=expected.ratio(stage.compute_ms + stage.codec_ms),
                frames=stage.frames,
                now_s=now_s,
            )
    return conditions, corrections


def after_leaving(shares: ExitShares, name: str, timing: Timing, serving: Mapping[str, Plan]) -> ExitShares:
    """With the requests that left at the exits of a device's stages, as far as the plans that are served say what for.

    A device in trouble is no reason to disbelieve it here: what it computes does not depend on how fast it is. But it
    only knows of the exits in the stages that the plan gives it, and of no more requests than they were given.
    """
    for stage in {(one.deployment, one.generation, one.stage): one for one in timing.stages if one.exits}.values():
        plan = serving.get(stage.deployment)
        if plan is None or plan.generation != stage.generation:
            continue
        part = part_at(plan, stage.stage)
        if part is None or part.device != name or part.is_band:
            continue
        here = {rule.name for rule in plan.exits if part.first <= rule.block < part.last}
        seen = [one for one in stage.exits if one.name in here and one.met <= stage.frames]
        if seen:
            shares = shares.observe(plan, seen)
    return shares
