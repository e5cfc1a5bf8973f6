"""From the best routes found to a finished plan: whole copies compared, shared links heeded, what is notable noted.

Shared limits. The submitter's link caps the sum of all rates: exact. The hub's link prices bytes, which no
separable rate can express: the plan without it is taken if the link carries it, for it is then optimal. Otherwise
the problem is solved again with ever fewer of the large cuts, down to whole copies, the link is given to the
routes that move the fewest bytes first, and the best of these plans is taken; its gap to the bound
`min(rate without the hub's limit, link / least bytes a request moves)` is in the notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from services.planner.bound import stage_bound_rps
from services.planner.complete import choose, kind
from services.planner.cost import Problem
from services.planner.diagnosis import no_plan
from services.planner.flow import predict
from services.planner.line_cost import Line, line_cost
from services.planner.one_route import EXACT_DEVICES
from services.planner.policy import Choice
from services.planner.search import TIE, pick
from services.planner.subset_dp import fill
from services.planner.whole_copies import whole_copies

Find = Callable[[Problem], Sequence[Line] | None]
"""A search for the best routes without the hub's limit; None when none keeps the constraints."""

_CUT_LADDER: Final = 6
"""In how many steps the large cuts are given up when the hub's link is the limit."""


def finished(problem: Problem, find: Find) -> Choice:
    """The plan that `find` leads to.

    Raises:
        services.planner.errors.PlanningError: no plan keeps the constraints; says which one, and by how much.
    """
    found = find(problem)
    if found is None:
        raise no_plan(problem)
    candidates = [found, *_without_splits(problem)]
    notes = []
    bound = _hub_bound_rps(problem, found)
    if bound is not None:
        candidates.extend(_with_smaller_cuts(problem, find))
    lines = pick(problem, candidates)
    if bound is not None:
        reached = predict(problem, [line_cost(problem, line) for line in lines]).throughput_rps
        notes.append(
            f"the hub's link is the limit: {reached:.1f} requests/s, {100 * (1 - reached / bound):.1f} % below "
            f"the bound of {bound:.1f}"
        )
    choice = choose(problem, lines, kind(lines))
    if choice.predicted.throughput_rps >= problem.submit_rps * (1 - TIE):
        notes.append(f"the submitter's link carries {problem.submit_rps:.1f} requests/s, and is the limit")
    if len(problem.devices) > EXACT_DEVICES:
        notes.append(_gap_text(problem, choice))
    return replace(choice, notes=(*choice.notes, *notes))


def _gap_text(problem: Problem, choice: Choice) -> str:
    text = f"{len(problem.devices)} devices: not proved best"
    if choice.bound_rps is None:
        return text
    reached = choice.predicted.throughput_rps
    gap = 1 - reached / choice.bound_rps
    text += (
        f"; {100 * abs(gap):.1f} % {'below' if gap >= 0 else 'above'} the {choice.bound_rps:.1f} requests/s of all "
        "devices computing all the time over free links"
    )
    held = stage_bound_rps(problem)
    if held < choice.bound_rps:
        text += f", and {100 * (1 - reached / held):.1f} % below the {held:.1f} that their memory and links allow"
    return text


def _without_splits(problem: Problem) -> Iterator[list[Line]]:
    """Every device that can serve the whole model alone, one plan each; then all of them as replicas."""
    fit = whole_copies(problem)
    yield from ([line] for line in fit)
    if len(fit) > 1:
        yield fit


def _hub_bound_rps(problem: Problem, best_without: Sequence[Line]) -> float | None:
    """An upper bound on any plan's rate when the hub's link slows the best one; None when it does not."""
    if problem.hub.hub_mbps is None or problem.deployment.objective != "throughput":
        return None
    costs = [line_cost(problem, line) for line in best_without]
    free = predict(replace(problem, hub=replace(problem.hub, hub_mbps=None)), costs).throughput_rps
    if predict(problem, costs).throughput_rps >= free * (1 - TIE):
        return None
    least_bytes = float(problem.wire_bytes[0]) + _least_sent_bytes(problem)
    return min(free, problem.hub.hub_mbps * 1e6 / 8 / max(least_bytes, 1.0))


def _least_sent_bytes(problem: Problem) -> float:
    """No route's devices send less than this per request."""
    if len(problem.devices) > EXACT_DEVICES:
        return float(problem.wire_bytes[-1])
    sent = np.where(problem.feasible, problem.crossing_bytes, np.inf)
    return float(fill(sent, np.add)[:, -1].min())


def _with_smaller_cuts(problem: Problem, find: Find) -> Iterator[Sequence[Line]]:
    inner = problem.crossing_bytes[1:-1]
    for share in np.linspace(1, 0, _CUT_LADDER + 1)[1:]:
        if not len(inner):
            return
        small = np.concatenate([[True], inner <= np.quantile(inner, share), [True]])
        lines = find(problem.allowing(small[:, None] & small))
        if lines is not None:
            yield lines
