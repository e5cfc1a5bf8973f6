"""How much is lost against the best plan of all, decision after decision: each policy, and exact without learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from services.planner.learning.learner import Proposer
from services.planner.learning.playing import Played, mean_curve, played
from services.planner.learning.world import World

DECISIONS: Final = 200
BUCKET: Final = 25
SETTLED: Final = 50
"""The last so many decisions say what a policy has come to."""

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Regrets:
    """One policy in one kind of worlds."""

    policy: str
    runs: tuple[Played, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON and tables; shares of the best plan's cost."""
        settled = [run.regret(DECISIONS - SETTLED) for run in self.runs]
        steps = [step for run in self.runs for step in run.steps]
        return {
            "policy": self.policy,
            "runs": len(self.runs),
            "decisions": DECISIONS,
            "regret": fmean(run.regret() for run in self.runs),
            "regret_settled": fmean(settled),
            "regret_settled_worst": max(settled),
            "regret_of_exact": fmean(run.regret_of_exact() for run in self.runs),
            "below_5_percent": sum(one < 0.05 for one in settled),
            "explored": fmean(step.by in ("exploring", "probing") for step in steps),
            "extra_cost": fmean(run.learner.budget.extra_share for run in self.runs),
            "worse_than_exact": fmean(step.by == "learned" and step.cost > step.exact for step in steps),
            "curve": mean_curve(self.runs, BUCKET),
        }


def regrets(worlds: Sequence[World], proposers: Mapping[str, Proposer], *, noises: int, tell: Tell) -> list[Regrets]:
    """Every policy in every world.

    Args:
        worlds: as they are believed to be and as they are.
        proposers: by name.
        noises: seeds of the noise for each world.
        tell: how far it is.
    """
    found = []
    for place, (name, proposer) in enumerate(proposers.items()):
        runs = []
        for number, world in enumerate(worlds):
            tell(name, (place + number / len(worlds)) / len(proposers))
            runs += [
                played(world, proposer, decisions=DECISIONS, seed=1000 * number + noise) for noise in range(noises)
            ]
        found.append(Regrets(name, tuple(runs)))
    return found
