"""Is the plan that is served still the right one? Its objective against the best plan's, on what is known now.

Among plans that are about as good, the one that moves fewer bytes is the better one: weights that a device holds
already are worth something. That is decided in the planning problem itself, so that every policy that looks at what
stages cost sees it: missing weights have a price of up to NEAR of the whole (`favouring_held`). The plan found so is at
most NEAR worse than the best; what is said of it are its true predictions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from schemas.plan import Plan, Prediction
from services.planner.cause import cause
from services.planner.cost import Floats, Problem
from services.planner.errors import InfeasibleError
from services.planner.exit_choice import best_point, keeps_bound
from services.planner.exit_rules import accuracy_of, bound_decides
from services.planner.flow import objective
from services.planner.held import Held, missing_bytes, switch_s
from services.planner.policy import Choice, Policy
from services.planner.shared_choice import again, truly

NEAR: Final = 0.02
"""Plans whose objectives differ by no more than this share are about as good."""
OVER_BOUND: Final = 1.1
"""A served plan that was within the latency bound is not given up before it is predicted so much beyond it."""


@dataclass(frozen=True, slots=True)
class Review:
    """A served plan beside the best one, both predicted from the same facts."""

    present: Choice | None
    """The served plan as it would do now; None when it cannot be served any more."""
    best: Choice
    gain: float
    """Share of the served plan's objective that the best one saves: of its latency, its joules, or its time per
    request. 1.0 when the served plan cannot be served; negative where a policy's caution prefers a plan that is
    predicted to be worse."""
    switch_s: float
    """Until the best plan would be ready."""
    moved_bytes: int
    """Weights that devices would have to fetch for it."""
    sudden: bool
    """What has changed is known exactly, so that it needs not be seen again and again to be believed."""
    cause: str
    """What has changed most since the served plan was made, for people."""


def review(
    problem: Problem,
    policy: Policy,
    serving: Plan,
    held: Held,
    *,
    exact: Collection[str] = (),
    choices: Sequence[Problem] = (),
) -> Review:
    """Compare. Pure; computes for a while, so it belongs in a thread.

    Args:
        problem: on the facts as they are now, with the served plan's cuts kept (`problem_from(keep=...)`) and exits.
        policy: that the deployment wants.
        serving: the plan that is served.
        held: which blocks the devices have.
        exact: devices of which a change is known exactly since the plan was made: their CPU quota.
        choices: the same problem under each set of exits that the wish allows (`services.planner.exit_rules`), where
            that is not just the served plan's.

    Raises:
        services.planner.errors.PlanningError: the policy has no plan.
    """
    present = still(problem, serving)
    _, best = best_point(choices or (problem,), partial(best_plan, policy=policy, held=held))
    missing = missing_bytes(problem.card, best.routes, held)
    used = {device for route in (*serving.routes, *best.routes) for device in route.devices}
    return Review(
        present=present,
        best=best,
        gain=1.0 if present is None else _gain(problem, present, best),
        switch_s=switch_s(missing, problem.devices, hub_mbps=problem.hub.hub_mbps),
        moved_bytes=sum(missing.values()),
        sudden=present is None or not used.isdisjoint(exact),
        cause=cause(problem, serving, present),
    )


def best_plan(problem: Problem, policy: Policy, held: Held) -> Choice:
    """The policy's plan; among about equal ones, one that moves few bytes. For first plans and after losses, too.

    Raises:
        services.planner.errors.PlanningError: the policy has no plan.
    """
    favoured = favouring_held(problem, held)
    found = policy.plan(favoured)
    return found if favoured is problem else truly(problem, found)


def favouring_held(problem: Problem, held: Held) -> Problem:
    """The same problem where missing weights cost up to NEAR of what any plan costs, in proportion to their bytes.

    Latency and energy add up over stages, so the price is added, and splitting a stage does not lower it; a route is as
    quick as its slowest stage, whose time grows by a share.
    """
    weights = np.array([sum(problem.card.blobs[blob].nbytes for blob in block.blobs) for block in problem.card.blocks])
    total = float(weights.sum())
    if total <= 0 or not any(held.get(facts.name) for facts in problem.devices):
        return problem
    blocks = np.arange(len(problem.card.blocks))
    lacking = np.array(
        [np.where(np.isin(blocks, list(held.get(facts.name, ()))), 0, weights) for facts in problem.devices]
    )
    before = np.concatenate([np.zeros((len(lacking), 1)), np.cumsum(lacking, axis=1)], axis=1)[:, problem.positions]
    price: Floats = NEAR * np.maximum(0.0, before[:, None, :] - before[:, :, None]) / total
    return replace(
        problem,
        latency_ms=problem.latency_ms + price * _least(problem.idle_compute_ms),
        bottleneck_ms=problem.bottleneck_ms * (1 + price),
        energy_j=problem.energy_j + price * _least(problem.compute_ms * _busy_w(problem) / 1e3),
    )


def _least(stages: Floats) -> float:
    """No plan does with less: every block where it costs least, and nothing for stages as such. Of (n, P, P)."""
    inner = np.arange(stages.shape[1] - 1)
    blocks = stages[:, inner, inner + 1] - stages[:, :1, 0]
    return float(np.maximum(0.0, blocks.min(axis=0)).sum())


def _busy_w(problem: Problem) -> Floats:
    return np.array([facts.info.power.busy_w for facts in problem.devices]).reshape(-1, 1, 1)


def still(problem: Problem, serving: Plan) -> Choice | None:
    """What a served plan gives now; None when it cannot go on: a device is gone, or breaks a constraint by now.

    Memory is no question any more: its stages are there.
    """
    deployment = problem.deployment
    if serving.card_sha != problem.card.sha256:
        return None
    if deployment.latency_bound_ms is not None:
        bound = {"latency_bound_ms": deployment.latency_bound_ms * OVER_BOUND}
        problem = replace(problem, deployment=deployment.model_copy(update=bound))
    roomy = problem.without("memory")
    shares = [route.weight for route in serving.routes] if serving.in_turn else None
    try:
        present = again(roomy, serving.routes, "what is served", shares=shares)
    except InfeasibleError:
        return None
    return present if not bound_decides(problem.card, deployment) or keeps_bound(problem, present) else None


def _gain(problem: Problem, present: Choice, best: Choice) -> float:
    """Share of the present objective that the best saves; of the wrong answers, where a latency bound is kept."""
    if bound_decides(problem.card, problem.deployment):
        now, then = accuracy_of(problem.card, present.exits), accuracy_of(problem.card, best.exits)
        if now is not None and then is not None and then != now:
            return (then - now) / max(1 - min(now, then), 1e-9)
    return gain(problem, present.predicted, best.predicted)


def gain(problem: Problem, present: Prediction, best: Prediction) -> float:
    """Share of the present objective that the best saves, at most 1; of the time per request under throughput."""
    if problem.deployment.objective == "throughput":
        return 1 - present.throughput_rps / best.throughput_rps if best.throughput_rps > 0 else 0.0
    now, then = objective(problem, present), objective(problem, best)
    return 1 - then / now if now > 0 else 0.0
