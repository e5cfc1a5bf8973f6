"""What a worker's report says about its own stages of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.parts import plan_parts
from schemas.plan import Plan
from schemas.stages import StagesHeld


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far one device is with its stages of a plan."""

    ready: bool
    progress: float
    error: str
    absent: str = ""
    """Why frames that come for it now would be lost; empty when it is ready for them."""
    loading: bool = False
    """It will be ready for them."""


def evidence(plan: Plan, held: StagesHeld) -> Evidence:
    """What a worker's report says about its own stages of `plan`."""
    reported = {
        (s.stage, s.first, s.last): s
        for s in held.stages
        if (s.deployment, s.generation, s.card_sha) == (plan.deployment, plan.generation, plan.card_sha)
    }
    wanted = [(part.stage, part.first, part.last) for part in plan_parts(plan) if part.device == held.device]
    mine = [reported[stage] for stage in wanted if stage in reported]
    failed = next((s for s in mine if s.state == "failed"), None)
    ready = len(mine) == len(wanted) and all(s.state == "ready" for s in mine)
    loading = len(mine) == len(wanted) and all(s.state in ("ready", "loading") for s in mine)
    return Evidence(
        ready=ready,
        # Being asked to hold a stage, fetching its bytes and being ready are each a step forward.
        progress=sum(1 + s.progress + (s.state == "ready") for s in mine),
        error=f"could not load its stage: {failed.error or 'no reason given'}" if failed else "",
        absent="" if ready else f"has {'still been loading' if loading else 'not held'} what it should serve",
        loading=loading and not ready,
    )
