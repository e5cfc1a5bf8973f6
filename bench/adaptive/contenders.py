"""Who competes: the same wish, once with plans that follow the world, and with plans that were made at the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.deployment import Deployment

MODEL: Final = "mobilenet_v2"
DEPLOYMENT: Final = "adaptive"
BOUND_MS: Final = 100.0
"""What the wish says of latency: no route may be predicted slower."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to serve."""

    name: str
    about: str
    adapt: bool
    policy: str = "exact"

    def wish(self, load: str) -> Deployment:
        """What is asked for: as many answers per second as can be had, at an even pace within a bound of latency."""
        return Deployment(
            deployment=DEPLOYMENT, model=MODEL, objective="throughput", policy=self.policy,
            latency_bound_ms=BOUND_MS if load == "paced" else None,
        )  # fmt: skip

    @property
    def planner_environment(self) -> dict[str, str]:
        """Settings of its planner."""
        return {"STAGELINE_ADAPT": "1" if self.adapt else "0"}


CONTENDERS: Final = (
    Contender("adaptive", "plans follow what devices and links can do", adapt=True),
    Contender("static-exact", "the exact plan for the fleet at rest, kept", adapt=False),
    Contender("static-replicas", "a whole copy on every device, kept", adapt=False, policy="replicas"),
)
ADAPTIVE: Final = "adaptive"
