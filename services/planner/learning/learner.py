"""Which plan is served next: exact's, one that has been better with confidence, or one that is worth trying.

The safety net around every learning policy. Pure and immutable: a decision is a plan that is served for a while, its
cost is measured, and the next one follows.

    shadow   exact's plan is the incumbent. What the policy proposes is tried now and then, as far as the budget allows,
             and compared with the incumbent in pairs (`pairs`).
    acting   a challenger that saves at least ACT_FROM with confidence becomes the incumbent. Exact's plan is seen again
             every PROBE_EVERY decisions.
    back     exact's plan is the incumbent again as soon as the other is no longer better with confidence, or when it
             has just been dearer than exact's is known to be.

What no policy proposes is tried now and then as well (`owed`). Never two trials in a row, and a plan that is worse with
confidence is not tried again before that has faded. A single measurement far from all that is known counts for less
(`surprise`), but for the budget: what a trial took is charged in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from schemas.learning import ServedBy
from services.planner.learning.arms import Arm
from services.planner.learning.budget import Budget
from services.planner.learning.linear import Linear
from services.planner.learning.owed import OWED_PART, owed, promising
from services.planner.learning.pairs import Pairs, through
from services.planner.learning.surprise import Side, believed
from services.planner.moving_average import Average

ACT_FROM: Final = 0.02
"""A plan must save this share at least, with confidence, to be served in place of exact's."""
PROBE_EVERY: Final = 20
"""Decisions after which exact's plan is seen again while another is served."""
FADE: Final = 0.997
"""Of what pairs say, from one decision to the next."""
DOUBTED: Final = 0.4
"""Of what pairs said in favour of a plan that has failed."""
PLANS_MOST: Final = 24
"""Plans that are remembered; those tried longest ago are forgotten first."""
_NEW: Final = 0.2
_NEW_FRESH: Final = 0.3
_NEW_REGRET: Final = 0.04
_DOUBTS: Final = 2
_COST_MOST: Final = 1e9


@dataclass(frozen=True, slots=True)
class Pick:
    """What is served next, and why."""

    arm: Arm
    by: ServedBy


@dataclass(frozen=True, slots=True)
class Tried:
    """What is known of one plan that was served."""

    predicted: float
    cost: Average = field(default_factory=Average)
    samples: float = 0.0
    at: int = 0
    """The last decision that measured it,"""
    surprised: Side = 0
    """and how that differed from what was expected."""


class Proposer(Protocol):
    """A learning policy: which plans may be better than the incumbent."""

    def propose(self, learner: Learner, arms: Sequence[Arm], incumbent: Arm) -> Sequence[Arm]:
        """Plans worth trying, the most promising first; never the incumbent."""


@dataclass(frozen=True, slots=True)
class Learner:
    """What was learned of one deployment."""

    linear: Linear = field(default_factory=Linear)
    tried: Mapping[str, Tried] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], Pairs] = field(default_factory=dict)
    """By challenger and incumbent."""
    incumbent: str = ""
    """The plan that acts; empty in shadow."""
    budget: Budget = field(default_factory=Budget)
    regret: Average = field(default_factory=Average)
    fresh: Average = field(default_factory=Average)
    """The incumbent's cost since it was last compared with another,"""
    fresh_of: str = ""
    """and which plan that was."""
    doubts: int = 0
    """Decisions in a row in which the acting plan was dearer than exact's is known to be."""
    forced: bool = False
    """The last decision was a trial."""
    probed: int = 0
    """The decision that last saw exact's plan,"""
    explored_at: int = 0
    """and the one that last was a trial."""

    @property
    def decisions(self) -> int:
        """How many were measured."""
        return self.budget.decisions

    def acting(self, arms: Sequence[Arm]) -> Arm:
        """The incumbent: the plan that acts, as long as it can be served; else exact's, the first."""
        return next((arm for arm in arms if arm.name == self.incumbent), arms[0])

    def decide(self, arms: Sequence[Arm], proposer: Proposer) -> Pick:
        """What to serve next.

        Args:
            arms: what may be served, exact's plan first.
            proposer: the learning policy.
        """
        incumbent, exact = self.acting(arms), arms[0]
        served: ServedBy = "exact" if incumbent is exact else "learned"
        if self.forced or self.fresh_of != incumbent.name:
            return Pick(incumbent, served)
        estimates = self.estimates(arms)
        now = estimates[incumbent.name]
        again = incumbent is not exact and self.decisions - self.probed >= PROBE_EVERY
        if again and self.budget.allows(estimates[exact.name] / now - 1):
            return Pick(exact, "probing")
        proposed = [*proposer.propose(self, arms, incumbent), *promising(arms, incumbent, self.known)]
        since = self.decisions - self.explored_at
        due = owed(arms, self.tried, estimates, decisions=self.decisions, since=since)
        for arm, part in (*((arm, 1.0) for arm in proposed), *((arm, OWED_PART) for arm in due)):
            refuted = self.between(arm, incumbent).at_most < 0
            if not refuted and self.budget.allows(estimates[arm.name] / now - 1, part):
                return Pick(arm, "exploring")
        return Pick(incumbent, served)

    def measured(self, arms: Sequence[Arm], pick: Pick, cost: float) -> Learner:
        """After what was picked has been served, and cost so much; arms as it was picked from them."""
        seen = min(_COST_MOST, max(1e-6, cost))
        arm, before = pick.arm, self.tried.get(pick.arm.name, Tried(pick.arm.cost))
        cost, surprised = believed(self.linear, arm.name, arm.terms, arm.cost, measured=seen, before=before.surprised)
        incumbent, exact = self.acting(arms), arms[0]
        forced = pick.by in ("exploring", "probing")
        compares = self.fresh_of == incumbent.name
        reference = self.fresh.value() if compares else self.known(incumbent, incumbent.cost)
        budget = self.budget.spent(seen / reference - 1) if forced else self.budget.decided()
        after = replace(
            self,
            linear=self.linear.learned(pick.arm.name, pick.arm.terms, pick.arm.cost, cost),
            tried=self._with_cost(pick.arm, cost, surprised),
            pairs={key: pairs.faded(FADE) for key, pairs in self.pairs.items()},
            incumbent="" if incumbent is exact else incumbent.name,
            budget=budget,
            forced=forced,
            probed=self.decisions if pick.arm is exact else self.probed,
            explored_at=self.decisions if forced else self.explored_at,
        )
        after = replace(after, regret=after._regret_with(arms, pick.arm))
        if pick.arm is incumbent:
            fresh = (self.fresh if compares else Average()).with_sample(cost, _NEW_FRESH)
            return replace(after, fresh=fresh, fresh_of=incumbent.name)._doubted(arms, seen)
        if not compares:
            return after
        return after._compared(arms, pick.arm, cost, reference)

    def unjudged(self, extra: float) -> Learner:
        """After a trial that could not be judged, and that cost about so much more, as a share: one less is left.

        Nothing is tried again before the incumbent has been measured.
        """
        return replace(self, budget=self.budget.spent(extra), forced=True, fresh_of="", explored_at=self.decisions)

    def between(self, challenger: Arm, incumbent: Arm) -> Pairs:
        """What is known of two plans."""
        return self.pairs.get((challenger.name, incumbent.name), Pairs())

    def known(self, arm: Arm, otherwise: float) -> float:
        """What a plan cost when it was served, ms; `otherwise` when it never was."""
        tried = self.tried.get(arm.name)
        return otherwise if tried is None else tried.cost.value(otherwise)

    def estimates(self, arms: Sequence[Arm]) -> dict[str, float]:
        """What plans are taken to cost now, ms, by name."""
        found = self.linear.estimates({arm.name: (arm.terms, arm.cost) for arm in arms})
        return {name: one.mean for name, one in found.items()}

    def best_known(self, arms: Sequence[Arm]) -> float | None:
        """The least that a plan was measured to cost, ms; None before any was."""
        return min((tried.cost.value() for arm in arms if (tried := self.tried.get(arm.name))), default=None)

    def _with_cost(self, arm: Arm, cost: float, surprised: Side) -> dict[str, Tried]:
        before = self.tried.get(arm.name, Tried(arm.cost))
        samples = (1 - _NEW) * before.samples + 1
        now = Tried(arm.cost, before.cost.with_sample(cost, _NEW), samples, self.decisions, surprised)
        tried = {**self.tried, arm.name: now}
        newest = sorted(tried, key=lambda name: tried[name].at, reverse=True)[:PLANS_MOST]
        return {name: one for name, one in tried.items() if name in newest}

    def _regret_with(self, arms: Sequence[Arm], served: Arm) -> Average:
        """With one more decision; of its one measurement, noise would count wherever it makes the best plan dearer."""
        best = self.best_known(arms)
        now = max(0.0, self.known(served, served.cost) / best - 1) if best else 0.0
        return self.regret.with_sample(now, _NEW_REGRET)

    def _compared(self, arms: Sequence[Arm], other: Arm, cost: float, reference: float) -> Learner:
        """After a plan that is not the incumbent was measured."""
        incumbent, exact = self.acting(arms), arms[0]
        after = replace(self, fresh_of="")
        if other is exact:
            pair = self.between(incumbent, exact).with_pair(reference, cost)
            after = after._with_pairs(incumbent, exact, pair)
            return after if pair.at_least > 0 else after._back(exact)
        pair = self.between(other, incumbent).with_pair(cost, reference)
        after = after._with_pairs(other, incumbent, pair)
        if pair.at_least <= ACT_FROM:
            return after
        if incumbent is not exact:
            after = after._with_pairs(other, exact, through(pair, self.between(incumbent, exact)))
        return replace(after, incumbent=other.name, doubts=0)

    def _doubted(self, arms: Sequence[Arm], cost: float) -> Learner:
        """After the incumbent was measured: is it still better than what is known of exact's plan?"""
        incumbent, exact = self.acting(arms), arms[0]
        if incumbent is exact:
            return replace(self, doubts=0)
        doubts = self.doubts + 1 if cost > self.known(exact, exact.cost) else 0
        after = replace(self, doubts=doubts)
        return after if doubts < _DOUBTS else after._back(exact)

    def _back(self, exact: Arm) -> Learner:
        """Exact's plan decides again, and what spoke for the other counts for less."""
        pairs = {
            key: one.faded(DOUBTED) if key[0] == self.incumbent and key[1] == exact.name else one
            for key, one in self.pairs.items()
        }
        return replace(self, incumbent="", doubts=0, fresh_of="", pairs=pairs)

    def _with_pairs(self, challenger: Arm, incumbent: Arm, pairs: Pairs) -> Learner:
        known = {**self.pairs, (challenger.name, incumbent.name): pairs}
        if len(known) > 2 * PLANS_MOST:
            least = min(known, key=lambda key: known[key].weight)
            known = {key: one for key, one in known.items() if key != least}
        return replace(self, pairs=known)
