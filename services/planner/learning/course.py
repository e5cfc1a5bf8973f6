"""How far learning is with one deployment that is served: the window that is looked at, and what was picked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import Seen
from schemas.deployment import Deployment
from schemas.learning import Learning, ServedBy
from schemas.plan import Plan
from services.planner.learning.arms import Arm, name_of
from services.planner.learning.keeping import pick_of, relearned, restored, told
from services.planner.learning.learner import Learner, Pick, Proposer
from services.planner.learning.seen_window import DEAR, SeenWindow

MOVED_WITHIN_S: Final = 10.0
"""A course is looked at only while nothing is being prepared: what was asked for so long ago was dropped, then."""
TRIAL_S: Final = 60.0
"""A trial that could not be judged within this, or within so many periods, ends:"""
TRIAL_PERIODS: Final = 6
"""while it is served, nothing else follows what links and devices do."""


@dataclass(frozen=True)
class Course:
    """One deployment."""

    wish: Deployment
    plan: Plan
    """That is served."""
    window: SeenWindow
    learner: Learner = field(default_factory=Learner)
    by: ServedBy = "exact"
    """Why it is served."""
    baseline: Plan | None = None
    """Exact's plan, that others are compared with; None: what is served."""
    asked: Pick | None = None
    """What is to be served next,"""
    asked_s: float = 0.0
    """since when."""
    arms: tuple[Arm, ...] = ()
    """At the last decision."""
    reason: str = ""
    """Why the policy cannot be asked."""

    @classmethod
    def begun(cls, wish: Deployment, plan: Plan, now_s: float, kept: Learning | None = None) -> Course:
        """Of a deployment that is served; `kept` is what was told of it before this planner started."""
        window = SeenWindow(plan.generation, now_s)
        if kept is None or kept.policy != wish.policy:
            return cls(wish, plan, window)
        by: ServedBy = kept.by if kept.generation == plan.generation else "exact"
        return cls(wish, plan, window, restored(kept), by)

    @property
    def holds(self) -> bool:
        """What is served, or about to be, is the learner's: reviews of exact's plan leave it alone."""
        return self.asked is not None or self.by in ("learned", "exploring")

    def serving(self, wish: Deployment, plan: Plan, now_s: float) -> Course:
        """With what is wanted and served now."""
        if _essence(wish) != _essence(self.wish):
            return Course.begun(wish, plan, now_s)
        if plan.generation == self.plan.generation:
            if self.asked is None or now_s - self.asked_s <= MOVED_WITHIN_S:
                return replace(self, wish=wish)
            tried = self.asked.by in ("exploring", "probing")
            return replace(self, wish=wish, asked=None, learner=self.learner.unjudged(0.0) if tried else self.learner)
        after = replace(self, wish=wish, plan=plan, window=SeenWindow(plan.generation, now_s), asked=None)
        if self.asked is not None and self.asked.arm.name == name_of(plan):
            return replace(after, by=self.asked.by)
        # A device was lost, or a review found a better plan: that is exact's.
        return replace(after, by="exact", baseline=None)

    def seen(self, seen: Seen) -> Course:
        """After a submitter's report."""
        return replace(self, window=self.window.with_seen(seen, self.plan))

    def reference(self) -> float | None:
        """What would be served if nothing were tried costs this, ms; None where nothing is."""
        if self.by != "exploring" or not self.arms:
            return None
        incumbent = self.learner.acting(self.arms)
        return self.learner.known(incumbent, incumbent.cost)

    def trial_over(self, now_s: float, *, period_s: float) -> bool:
        """Whether a plan is tried that could not be judged in time, or that is dearer by far though not kept busy."""
        if self.by != "exploring" or self.asked is not None:
            return False
        lasted_s = now_s - self.window.since_s
        if lasted_s > max(TRIAL_S, TRIAL_PERIODS * period_s):
            return True
        return lasted_s >= period_s and self.window.dear(self.plan.objective, self.reference())

    def unjudged(self, arms: Sequence[Arm], now_s: float) -> tuple[Course, Pick]:
        """After a trial that nobody can judge: what would be served without it. It counts as one that was spent.

        Nothing is learned of the plan: that submitters ask for little looks the same as a plan that gives little. What
        it is charged is bounded by that, too.

        Args:
            arms: what may be served now, exact's plan first.
            now_s: now.
        """
        cost, reference = self.window.cost(self.plan.objective), self.reference()
        extra = min(DEAR, cost / reference) - 1 if cost is not None and reference else 0.0
        learner = self.learner.unjudged(extra)
        incumbent = learner.acting(arms)
        pick = Pick(incumbent, "exact" if incumbent is arms[0] else "learned")
        # Should the move be refused, reviews take over what is served.
        course = replace(
            self, learner=learner, arms=tuple(arms), window=self.window.again(now_s), reason="", by="exact",
        )  # fmt: skip
        if incumbent.name == name_of(self.plan):
            return replace(course, by=pick.by), pick
        return replace(course, asked=pick, asked_s=now_s), pick

    def decided(self, arms: Sequence[Arm], proposer: Proposer, cost: float, now_s: float) -> tuple[Course, Pick]:
        """After what is served was judged: what to serve next.

        Args:
            arms: what may be served now, exact's plan first.
            proposer: the policy.
            cost: of what is served, ms.
            now_s: now.
        """
        learner, served = self.learner, pick_of(arms, name_of(self.plan), self.by)
        if not learner.linear.names and learner.tried:
            learner = replace(learner, linear=relearned(learner, arms))
        if served is not None:
            learner = learner.measured(arms, served, cost)
        pick = learner.decide(arms, proposer)
        course = replace(
            self, learner=learner, arms=tuple(arms), window=self.window.again(now_s), reason="",
            baseline=self.plan if served is not None and served.arm is arms[0] else self.baseline,
        )  # fmt: skip
        if served is not None and pick.arm is served.arm:
            return replace(course, by=pick.by), pick
        return replace(course, asked=pick, asked_s=now_s), pick

    def told(self) -> Learning:
        """As it is published."""
        return told(
            self.learner, self.arms, deployment=self.wish.deployment, generation=self.plan.generation,
            policy=self.wish.policy, by=self.by, serving=name_of(self.plan), reason=self.reason,
        )  # fmt: skip


def cause_of(pick: Pick, learner: Learner, arms: Sequence[Arm]) -> str:
    """Why the plan changes, for people."""
    exact = arms[0]
    if pick.by == "exploring":
        return f"trying another plan for a while (decision {learner.decisions}), to learn whether it is better"
    if pick.by == "probing":
        return "serving exact's plan for a while, to see whether what was learned still holds"
    if pick.by == "learned":
        gain = learner.between(pick.arm, exact).mean
        return f"measured to be better than exact's plan: it saves {gain:.0%} of what that costs"
    return "exact's plan again, after a trial"


def _essence(wish: Deployment) -> Deployment:
    """A wish without when it was asked for."""
    return wish.model_copy(update={"requested": 0.0})
