"""Why a served plan is not the best one any more: what has changed most since it was made, in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Literal

from schemas.parts import predicted_parts
from schemas.plan import ExitRule, Plan, Route
from services.planner.cost import Problem
from services.planner.policy import Choice

CHANGED: Final = 0.1
"""A time that differs by less than this share from what it was when planned is no cause,"""
MATTERS: Final = 0.02
"""and nor is one that differs by less than this share of a request's latency."""

MIX_CHANGED: Final = 0.1
"""So much of all requests must leave elsewhere than expected to be a cause."""

_Term = Literal["down", "compute", "frame", "up"]


def cause(problem: Problem, serving: Plan, present: Choice | None) -> str:
    """What has changed most since the served plan was made, in words.

    Args:
        problem: on the facts as they are now, with the served plan's exits and the shares that leave there now.
        serving: the plan, with what was predicted when it was made.
        present: what it gives now; None when it cannot be served any more.
    """
    there = {facts.name for facts in problem.devices}
    if gone := [device for device in serving.devices if device not in there]:
        return f"{', '.join(gone)} cannot be used any more"
    if (mix := _mix(serving, problem.exits)) is not None:
        return mix
    if present is None:
        return "the plan breaks a constraint by now"
    changes = [change for pair in zip(serving.routes, present.routes, strict=False) for change in _changes(*pair)]
    matters = [change for change in changes if change[0] > MATTERS * present.predicted.latency_ms]
    if len(serving.routes) == len(present.routes) and matters:
        _, device, term, before, after = max(matters)
        text = f"{_TERMS[term]} {device} takes {after:.3g} ms, {before:.3g} ms when planned"
        return f"{text}{_why(problem, device) if term in ('compute', 'frame') else ''}"
    return "another plan has become better than the one that is served"


def _mix(serving: Plan, now: Sequence[ExitRule]) -> str | None:
    """Where another share of the requests leaves than was expected, in words: that of the exit where most has changed.

    Shares are told of all requests, as far as they have left by the exit.
    """
    expected, seen = accumulate(rule.share for rule in serving.exits), accumulate(rule.share for rule in now)
    changes = [
        (abs(after - before), rule.name, before, after)
        for rule, before, after in zip(serving.exits, expected, seen, strict=False)
    ]
    change, name, before, after = max(changes, default=(0.0, "", 0.0, 0.0))
    if change < MIX_CHANGED:
        return None
    return f"{'more' if after > before else 'fewer'} requests leave at {name} ({after:.0%}, expected {before:.0%})"


_TERMS: Final[dict[_Term, str]] = {
    "down": "sending to", "compute": "computing on", "frame": "handling frames on", "up": "sending from",
}  # fmt: skip


def _changes(before: Route, now: Route) -> list[tuple[float, str, _Term, float, float]]:
    """How far each time of a route has grown or shrunk, ms, and what it was and is."""
    found: list[tuple[float, str, _Term, float, float]] = []
    for (part, then), (_, after) in zip(predicted_parts(before, 0), predicted_parts(now, 0), strict=False):
        pairs: dict[_Term, tuple[float, float]] = {
            "down": (then.down_ms, after.down_ms),
            "compute": (then.compute_ms, after.compute_ms),
            "frame": (then.frame_ms, after.frame_ms),
            "up": (then.up_ms, after.up_ms),
        }
        found += [
            (abs(b - a), part.device, term, a, b) for term, (a, b) in pairs.items() if abs(b - a) > CHANGED * max(a, b)
        ]
    return found


def _why(problem: Problem, device: str) -> str:
    """Of a device that computes slower or quicker: capacity, others, or unexplained."""
    facts = next(one for one in problem.devices if one.name == device)
    reasons = []
    if not math.isclose(facts.capacity_scale, 1.0, rel_tol=CHANGED):
        reasons.append(
            f"it has {facts.info.capacity_cores:.3g} cores, {facts.profile.capacity_cores:.3g} when measured"
        )
    if facts.free < 1 - CHANGED:
        reasons.append(f"{facts.free:.0%} of it is free")
    if not math.isclose(facts.correction, 1.0, rel_tol=CHANGED):
        reasons.append(f"its stages take {facts.correction:.2f} times what it measured at rest")
    return f" ({'; '.join(reasons)})" if reasons else ""
