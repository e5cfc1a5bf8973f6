"""Why there is no plan, or why a stage cannot be: which constraint, by how much, and what would help."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.planner.cost import FRAME_HEADER_BYTES, Problem
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.line_cost import Line, Placement, line_cost
from services.planner.one_route import any_line
from services.planner.pins import PinError, allowed


class NotEnoughMemoryError(PlanningError):
    """The fleet cannot hold the model. `missing_bytes` says per device what the whole model lacks there."""

    def __init__(self, message: str, missing_bytes: Mapping[str, int]) -> None:
        super().__init__(message)
        self.missing_bytes = dict(missing_bytes)


class LatencyBoundError(PlanningError):
    """No route is quick enough."""


class LinkError(PlanningError):
    """The links carry nothing, or nothing as large as the model's frames."""


def no_plan(problem: Problem) -> PlanningError:
    """The error that says why no plan keeps the constraints: found by lifting them one at a time."""
    quickest = any_line(problem)
    bound = problem.deployment.latency_bound_ms
    if quickest is not None and bound is not None:
        least = line_cost(problem, quickest).latency_ms
        return LatencyBoundError(
            f"no route of {problem.card.name} is predicted within {bound:.1f} ms: the quickest, "
            f"{line_text(problem, quickest)}, takes {least:.1f} ms. Raise the latency bound or add a faster device"
        )
    if any_line(problem.without("memory")) is not None:
        return _memory_error(problem)
    if problem.deployment.pins and any_line(problem.without("pins")) is not None:
        pins = ", ".join(f"{pin.device}[{pin.first}:{pin.last})" for pin in problem.deployment.pins)
        return PinError(f"no plan for {problem.card.name} keeps the pins {pins}, though there is one without them")
    if any_line(problem.without("link")) is not None:
        return LinkError(_link_text(problem))
    return _memory_error(problem.without("link").without("pins"))


def too_narrow(problem: Problem, space: str) -> PlanningError:
    """Why a policy that only looks at plans of a kind (`space`, in words) found none: the constraint, or the kind."""
    quickest = any_line(problem)
    bound = problem.deployment.latency_bound_ms if problem.deployment.objective == "throughput" else None
    if quickest is None or (bound is not None and line_cost(problem, quickest).latency_ms > bound):
        return no_plan(problem)
    return InfeasibleError(
        f"{problem.card.name} cannot be served by {space}, though {line_text(problem, quickest)} could: "
        "use --policy exact"
    )


def line_text(problem: Problem, line: Line) -> str:
    """A route as plans print it."""
    borders = problem.positions.tolist()
    return " -> ".join(f"{problem.devices[s.device].name}[{borders[s.first]}:{borders[s.last]})" for s in line)


def why_not(problem: Problem, stage: Placement) -> str:
    """Why a stage is not feasible; empty when it is."""
    if problem.feasible[stage]:
        return ""
    need, budget = float(problem.need_bytes[stage.first, stage.last]), problem.budget_bytes(stage.device)
    text = line_text(problem, (stage,))
    if need > budget:
        return f"{text} needs {megabytes(need)} and {problem.devices[stage.device].name} offers {megabytes(budget)}"
    if not allowed(problem.deployment.pins, [problem.devices[stage.device].name], problem.positions)[0, *stage[1:]]:
        return f"{text} takes blocks that are pinned elsewhere"
    return f"{text}: its frames do not pass {problem.devices[stage.device].name}'s link"


def megabytes(nbytes: float) -> str:
    """Bytes for people; 1 MB = 10^6 bytes."""
    return f"{nbytes / 1e6:.1f} MB"


def _memory_error(problem: Problem) -> NotEnoughMemoryError:
    whole = float(problem.need_bytes[0, -1])
    have = {facts.name: problem.budget_bytes(index) for index, facts in enumerate(problem.devices)}
    offers = ", ".join(
        f"{name} offers {megabytes(budget)} ({megabytes(max(0.0, whole - budget))} missing for the whole model)"
        for name, budget in have.items()
    )
    least = np.array([problem.need_bytes[p, p + 1] for p in range(len(problem.positions) - 1)])
    largest = int(least.argmax())
    borders = problem.positions.tolist()
    if least[largest] > max(have.values()):
        hint = (
            f"blocks [{borders[largest]}:{borders[largest + 1]}), which cannot be split, need "
            f"{megabytes(least[largest])}: no device has room for them"
        )
    else:
        hint = "no way of splitting it over these devices fits"
    return NotEnoughMemoryError(
        f"{problem.card.name} does not fit: it needs {megabytes(whole)} in one piece; {offers}; {hint}. "
        "Raise a memory limit, add a device, or pin fewer blocks",
        {name: max(0, int(whole) - budget) for name, budget in have.items()},
    )


def _link_text(problem: Problem) -> str:
    reasons = []
    for device, facts in enumerate(problem.devices):
        if not np.isfinite(problem.down_ms[device]).all() or not np.isfinite(problem.up_ms[device]).all():
            reasons.append(f"{facts.name}'s link measured 0 Mbit/s")
        elif facts.max_packet_bytes and problem.wire_bytes.max() + FRAME_HEADER_BYTES > facts.max_packet_bytes:
            reasons.append(f"{facts.name}'s broker passes packets of {megabytes(facts.max_packet_bytes)} at most")
    return (
        f"the links cannot carry {problem.card.name}'s frames: {'; '.join(reasons)}. "
        "Raise max_packet_size in mosquitto.conf, or check the network"
    )
