"""How many requests really leave at each exit, learned from workers' reports; calibrated shares until there are some.

What is remembered, by deployment, exit and threshold, is the share of all requests that has left by it. A stage only
sees those that came so far, so what it reports is taken together with what is known of the exits before. What was seen
at one threshold says that inputs are easier or harder than validation data, and so something of every other threshold:
the odds of having left change alike. Deployments of one model are given other inputs, and teach one another nothing.

    shares = shares.observe(plan, timing.exits)
    shares.rules("cats", card, {"exit1": 0.8, "exit2": 0.9})     # ExitRules with the shares as they are now

Averages follow requests, not time: a quiet line forgets nothing, a busy one sees within a second that inputs are others
now (`services.planner.moving_average`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.model import CLOSED, ModelCard
from schemas.plan import ExitRule, Plan
from schemas.stages import ExitSeen
from services.planner.moving_average import NO_SAMPLES, Pace, Steady
from services.planner.operating_points import gone_at, gone_by

PACE: Final = Pace(slow=400.0, quick=50.0, jump=0.15)
"""Requests; share of requests."""
CALIBRATED_REQUESTS: Final = 30.0
"""Validation data counts as much as so many requests that were seen here."""
_SURE: Final = 0.01
"""However few leave, or stay, where they were counted: at another threshold it may be others."""
_MOST_MET: Final = 10_000.0
"""Of more requests nothing more is learned: by then validation data counts for next to nothing."""
_MOST_KEPT: Final = 512
"""Exits and thresholds, of all deployments together."""


@dataclass(frozen=True, slots=True)
class Left:
    """Of one exit at one threshold."""

    gone: Steady = NO_SAMPLES
    """Share of all requests that has left by it."""
    met: float = 0.0
    """Requests that were seen to meet it."""

    @property
    def trust(self) -> float:
        """How much what was seen counts beside validation data, 0..1."""
        return self.met / (self.met + CALIBRATED_REQUESTS)


@dataclass(frozen=True, slots=True)
class ExitShares:
    """Of all deployments; immutable."""

    seen: Mapping[tuple[str, str, str, float], Left] = field(default_factory=dict)
    """By deployment, card, exit and threshold; what was seen latest last."""

    def observe(self, plan: Plan, reports: Sequence[ExitSeen]) -> ExitShares:
        """After one stage's report of one period.

        Args:
            plan: that the stage belongs to; exits that it does not open are passed over.
            reports: requests that met each exit, and those of them that left.
        """
        said = {one.name: one for one in reports if one.met > 0 and one.left <= one.met}
        seen = dict(self.seen)
        before, planned = 0.0, 0.0
        for rule in plan.exits:
            key = (plan.deployment, plan.card_sha, rule.name, rule.threshold)
            planned += rule.share
            if rule.name in said:
                one = said[rule.name]
                gone = 1 - (1 - before) * (1 - one.left / one.met)
                known = seen.pop(key, Left())
                seen[key] = Left(
                    known.gone.with_sample(gone, float(one.met), PACE), min(known.met + one.met, _MOST_MET)
                )
            known_here = seen.get(key)
            before = max(before, known_here.gone.value() if known_here is not None else min(1.0, planned))
        for oldest in list(seen)[: max(0, len(seen) - _MOST_KEPT)]:
            del seen[oldest]
        return ExitShares(seen)

    def adopted(self, plan: Plan) -> ExitShares:
        """With what a plan says that was served before this planner started; what was seen since then counts before it.

        Shares there are what the planner before expected when it made the plan. They count as much as validation data
        does, no more: nobody knows how many requests they were seen of, nor how inputs are now. For another card, other
        thresholds or another deployment they say nothing.
        """
        seen = dict(self.seen)
        gone = 0.0
        for rule in plan.exits:
            gone = min(1.0, gone + rule.share)
            key = (plan.deployment, plan.card_sha, rule.name, rule.threshold)
            if key not in seen and len(seen) < _MOST_KEPT:
                seen[key] = Left(NO_SAMPLES.with_sample(gone, CALIBRATED_REQUESTS, PACE), CALIBRATED_REQUESTS)
        return ExitShares(seen)

    def rules(
        self, deployment: str, card: ModelCard, thresholds: Mapping[str, float], card_sha: str = ""
    ) -> tuple[ExitRule, ...]:
        """The open exits in order, with the shares of all requests that are expected to leave there now.

        Args:
            deployment: whose requests.
            card: the model.
            thresholds: of the open exits, by name.
            card_sha: the card's, where it is at hand.
        """
        if not thresholds:
            return ()
        sha = card_sha or card.sha256
        calibrated = gone_by(card, thresholds)
        rules: list[ExitRule] = []
        so_far = 0.0
        for one in card.exits:
            if one.name not in thresholds:
                continue
            gone = self._gone_by((deployment, sha, one.name), card, thresholds[one.name], calibrated[one.name])
            share = max(0.0, min(1.0, gone) - so_far)
            so_far += share
            rules.append(ExitRule(name=one.name, block=one.block, threshold=thresholds[one.name], share=share))
        return tuple(rules)

    def _gone_by(self, exit_: tuple[str, str, str], card: ModelCard, threshold: float, calibrated: float) -> float:
        """The share of all requests that has left by an exit at a threshold, from validation data and what was seen.

        What is seen now, at whatever threshold, says more of today's inputs than what was seen at this one before; but
        only validation data can tell how the two thresholds compare.
        """
        at, known = next(
            ((key[3], left) for key, left in reversed(list(self.seen.items())) if key[:3] == exit_), (threshold, Left())
        )
        if at != threshold:
            expected = gone_at(card, exit_[2], at)
            if 0 < calibrated < 1 and 0 < expected < 1:
                return _expit(_logit(calibrated) + known.trust * (_logit(known.gone.value()) - _logit(expected)))
            if (*exit_, threshold) in self.seen:
                known = self.seen[*exit_, threshold]
            elif card.operating_points or not 0 < threshold < CLOSED:
                return calibrated
        return known.trust * known.gone.value() + (1 - known.trust) * calibrated

    def now(self, card: ModelCard, plan: Plan) -> tuple[ExitRule, ...]:
        """A plan's exits, with the shares that leave there as they are now."""
        return self.rules(plan.deployment, card, {rule.name: rule.threshold for rule in plan.exits}, plan.card_sha)

    def without(self, deployment: str) -> ExitShares:
        """Of the other deployments: this one is gone."""
        return ExitShares({key: left for key, left in self.seen.items() if key[0] != deployment})


def _logit(share: float) -> float:
    share = min(1 - _SURE, max(_SURE, share))
    return math.log(share / (1 - share))


def _expit(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


NO_SHARES: Final = ExitShares()
"""Nothing was seen yet."""
