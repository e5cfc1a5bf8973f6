"""Is a trained policy for this model and this fleet? What was trained for another one is refused, and told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.model import ModelCard
from schemas.plan import Objective
from services.planner.facts import DeviceFacts
from services.planner.learning.policy_file import Member, PolicyFileError, TrainedPolicy

SAME_SIZE: Final = 0.25
"""Devices whose cores and times differ by less than this share are the same."""
_WHAT_TO_DO: Final = (
    "train one (`stageline learn train`), going on from this one if you like (--from FILE), or have it used as it is "
    "(the planner's --learned-transfer)"
)


class OtherModelError(PolicyFileError):
    """It was trained for another model."""


class OtherFleetError(PolicyFileError):
    """It was trained on another fleet."""


def members(facts: Sequence[DeviceFacts]) -> tuple[Member, ...]:
    """The signature of a fleet."""
    return tuple(
        Member(device=one.name, cores=one.profile.capacity_cores, whole_ms=round(sum(one.profile.block_ms), 3))
        for one in facts
    )


def check_fits(
    trained: TrainedPolicy, card: ModelCard, objective: Objective, facts: Sequence[DeviceFacts], *, transfer: bool
) -> None:
    """Whether a policy is for this model and this fleet.

    Args:
        trained: the policy.
        card: the model that is served.
        objective: what for.
        facts: its devices now.
        transfer: another fleet or model is meant: only the objective must be the same.

    Raises:
        OtherModelError: it is for another model or objective.
        OtherFleetError: it is for another fleet.
    """
    header = trained.header
    if header.objective != objective:
        raise OtherModelError(
            f"the trained policy is for objective {header.objective}, and {objective} is wanted: train another "
            f"(`stageline learn train`)"
        )
    if transfer:
        return
    if header.card_sha != card.sha256:
        raise OtherModelError(
            f"the trained policy is for {header.model} ({header.card_sha[:12]}), not for {card.name} "
            f"({card.sha256[:12]}): {_WHAT_TO_DO}"
        )
    difference = _difference(header.fleet, members(facts))
    if difference:
        raise OtherFleetError(f"the trained policy is for another fleet: {difference}: {_WHAT_TO_DO}")


def _difference(then: Sequence[Member], now: Sequence[Member]) -> str:
    names, here = [one.device for one in then], [one.device for one in now]
    if names != here:
        return f"trained on {', '.join(names)}, and there are {', '.join(here)}"
    for one, other in zip(then, now, strict=True):
        if not _same(one.cores, other.cores):
            return f"{one.device} had {one.cores:.3g} cores, and has {other.cores:.3g}"
        if not _same(one.whole_ms, other.whole_ms):
            return f"the model took {one.device} {one.whole_ms:.3g} ms, and takes {other.whole_ms:.3g}"
    return ""


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_SIZE * max(one, other)
