"""Was a plan that was good left alone?"""

from __future__ import annotations

from bench.chaos.scene import Scene
from schemas.plan import Plan


def left_alone(scene: Scene, plan: Plan) -> None:
    """Complain when the planner decided anything after `plan`.

    Where figures do not count devices may be short of what they are said to have, and a planner that follows that is
    right; what it decides for another reason is complained of there, too.
    """
    decided = [
        decision
        for _, decision in scene.record.decisions
        if decision.state == "preparing" and decision.generation > plan.generation
    ]
    causes = [decision.cause for decision in decided if not (scene.quick and _has_drifted(decision.cause))]
    scene.demand(not causes, f"{plan} was good, and was replaced: {'; '.join(causes)}")


def _has_drifted(cause: str) -> bool:
    """Whether a plan was made because times are not what they were when the one before was."""
    return "when planned" in cause or "has become better" in cause
