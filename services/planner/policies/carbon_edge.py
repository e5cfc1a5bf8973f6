"""CarbonEdge: AMP4EC's parts, placed by a score in which the carbon of an inference counts too.

Three sets of weights [P]; the carbon intensity is the same constant for every device [R], because no device says what
electricity it runs on. All else is as in `services.planner.policies.amp4ec`.
"""

from __future__ import annotations

from typing import Final, Literal

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.node_selection import (
    CARBON_BALANCED,
    CARBON_G_PER_KWH,
    CARBON_GREEN,
    CARBON_PERFORMANCE,
    Weights,
)
from services.planner.policies.amp4ec import scored_line
from services.planner.policy import Choice

Mode = Literal["balanced", "performance", "green"]

WEIGHTS: Final[dict[Mode, Weights]] = {
    "balanced": CARBON_BALANCED,
    "performance": CARBON_PERFORMANCE,
    "green": CARBON_GREEN,
}


class CarbonEdge:
    """One of its three modes; `carbon-edge` alone is the balanced one."""

    citation = (
        f"CarbonEdge (Zhang et al., arXiv 2603.27420); {CARBON_G_PER_KWH:.0f} g/kWh everywhere, and as amp4ec otherwise"
    )

    def __init__(self, mode: Mode = "balanced") -> None:
        self.name = "carbon-edge" if mode == "balanced" else f"carbon-edge-{mode}"
        self._mode = mode

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: as `services.planner.policies.amp4ec.Amp4ec.plan`.
        """
        return choose(problem, [scored_line(problem, WEIGHTS[self._mode])], f"CarbonEdge parts, {self._mode}")
