"""How much is lost against the best plan of all, decision after decision: each policy, and exact without learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from statistics import fmean
from typing import Any, Final

from services.planner.learning.learner import Proposer
from services.planner.learning.playing import Noise, Played, Step, mean_curve, ordinary, played
from services.planner.learning.world import World

DECISIONS: Final = 200
BUCKET: Final = 25
SETTLED: Final = 50
"""The last so many decisions say what a policy has come to."""
WANTED: Final = 0.05
"""Regret that a policy is to stay below."""

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Regrets:
    """One policy in one kind of worlds."""

    policy: str
    runs: tuple[Played, ...]
    offered: float = 0.0
    """The least that could be lost with the plans that were offered, mean over the worlds."""

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
            "below_5_percent": sum(one < WANTED for one in settled),
            "decisions_until": [_until(run) for run in self.runs],
            "regret_of_best_offered": self.offered,
            "explored": fmean(step.by in ("exploring", "probing") for step in steps),
            "extra_cost": fmean(run.learner.budget.extra_share for run in self.runs),
            "worse_than_exact": fmean(step.by == "learned" and step.cost > step.exact for step in steps),
            "longest_dearer": max(map(_longest_dearer, self.runs)),
            "most_lost_to_exact": max(map(_most_lost, self.runs)),
            "lost_to_exact_curve": [
                max(_lost(run, at) for run in self.runs) for at in range(BUCKET, DECISIONS + 1, BUCKET)
            ],
            "exact_curve": [
                (at, fmean(step.exact / step.best - 1 for run in self.runs for step in run.steps[at - BUCKET : at]))
                for at in range(BUCKET, DECISIONS + 1, BUCKET)
            ],
            "curve": mean_curve(self.runs, BUCKET),
        }


def regrets(
    worlds: Sequence[World], proposers: Mapping[str, Proposer], *, noises: int, tell: Tell, noise: Noise = ordinary
) -> list[Regrets]:
    """Every policy in every world.

    Args:
        worlds: as they are believed to be and as they are.
        proposers: by name.
        noises: seeds of the noise for each world.
        tell: how far it is.
        noise: of measurements.
    """
    found = []
    offered = fmean(min(map(world.true_cost, world.arms())) / world.best_cost - 1 for world in worlds)
    for place, (name, proposer) in enumerate(proposers.items()):
        runs = []
        for number, world in enumerate(worlds):
            tell(name, (place + number / len(worlds)) / len(proposers))
            runs += [
                played(world, proposer, decisions=DECISIONS, seed=1000 * number + seed, noise=noise)
                for seed in range(noises)
            ]
        found.append(Regrets(name, tuple(runs), offered))
    return found


def _until(run: Played) -> int | None:
    """Decisions from which on no SETTLED in a row have a mean regret of WANTED or more; None: there are none."""
    least = len(run.steps) - SETTLED
    above = [first for first in range(least + 1) if run.regret(first, first + SETTLED) >= WANTED]
    if not above:
        return 0
    return above[-1] + 1 if above[-1] < least else None


def _longest_dearer(run: Played) -> int:
    """Decisions in a row that served what really costs more than exact's plan."""
    return max(len(list(same)) if dearer else 0 for dearer, same in groupby(_dearer(step) for step in run.steps))


def _dearer(step: Step) -> bool:
    return step.cost > step.exact


def _lost(run: Played, decisions: int) -> float:
    """What the first so many decisions really cost more than exact's plan would have, in decisions of that plan."""
    return sum(step.cost / step.exact - 1 for step in run.steps[:decisions])


def _most_lost(run: Played) -> float:
    """The most that a run was ever behind exact without learning, in decisions of exact's plan."""
    return max(0.0, *accumulate(step.cost / step.exact - 1 for step in run.steps))
