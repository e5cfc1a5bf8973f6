"""What each of several deployments may take of a device that they share, by their weights. Pure.

Time: the workers give each its share of the compute thread, so a deployment plans with that share of every device that
plans of others use. Memory: what others hold is theirs while everything fits; where a deployment would not fit
otherwise, others keep no more than their weighted share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.plan import Plan
from schemas.stages import HeldStage, StagesHeld

_HOLDING = ("loading", "ready")


@dataclass(frozen=True, slots=True)
class Use:
    """What one deployment uses, or is about to."""

    deployment: str
    weight: float
    devices: frozenset[str]
    claims: frozenset[str] = frozenset()
    """Of these, where it waits for its share of the memory."""


def use_of(
    plans: Iterable[Plan | None], deployment: str, weight: float, *, claims: frozenset[str] = frozenset()
) -> Use:
    """Of one deployment, by its plans: the one being served, the one being prepared."""
    used = frozenset(device for plan in plans if plan is not None for device in plan.devices)
    return Use(deployment, weight, used | claims, claims)


def time_share(device: str, deployment: str, weight: float, uses: Iterable[Use]) -> float:
    """Share of a device's time that a deployment of some weight gets when all want it, above 0 and at most 1."""
    others = sum(use.weight for use in uses if use.deployment != deployment and device in use.devices)
    return weight / (weight + others)


def memory_bytes(worker: StagesHeld, deployment: str, weight: float, uses: Sequence[Use], *, contested: bool) -> int:
    """What a worker has for stages of one deployment.

    Args:
        worker: what it holds and what it gives in all.
        deployment: for which.
        weight: of that deployment.
        uses: of all.
        contested: it would not fit beside what others hold: they keep no more than their weighted share.
    """
    budget = worker.memory_budget_bytes
    weights = {use.deployment: use.weight for use in uses if worker.device in use.devices} | {deployment: weight}
    held = held_bytes(worker.stages, deployment)
    total = sum(weights.values())
    kept = {
        name: min(nbytes, int(budget * weights.get(name, 0.0) / total)) if contested else nbytes
        for name, nbytes in held.items()
    }
    left = max(0, budget - sum(kept.values()))
    claimed = any(worker.device in use.claims for use in uses if use.deployment != deployment)
    return min(left, int(budget * weights[deployment] / total)) if claimed else left


def over_share(worker: StagesHeld, deployment: str, weight: float, uses: Sequence[Use]) -> tuple[str, ...]:
    """Deployments that hold more of a worker's memory than their share, if this one came to it."""
    weights = {use.deployment: use.weight for use in uses if worker.device in use.devices} | {deployment: weight}
    held = held_bytes(worker.stages, deployment)
    share = {name: worker.memory_budget_bytes * one / sum(weights.values()) for name, one in weights.items()}
    return tuple(sorted(name for name, nbytes in held.items() if nbytes > share.get(name, 0.0)))


def held_bytes(stages: Iterable[HeldStage], but: str) -> dict[str, int]:
    """Memory that stages of every deployment but one take; what several share counts once."""
    slices: dict[tuple[str, int, int, str], tuple[str, int]] = {}
    for stage in stages:
        if stage.deployment != but and stage.state in _HOLDING:
            slices[stage.card_sha, stage.first, stage.last, stage.variant] = (stage.deployment, stage.memory_bytes)
    held: dict[str, int] = {}
    for name, nbytes in slices.values():
        held[name] = held.get(name, 0) + nbytes
    return held
