"""How many requests really leave at each exit, learned from workers' reports; calibrated shares until there are some.

What is remembered, by exit and threshold, is the share of all requests that has left by it. A stage only sees those
that came so far, so what it reports is taken together with what is known of the exits before. What was seen at one
threshold says that inputs are easier or harder than validation data, and so something of every other threshold: the
odds of having left change alike.

    shares = shares.observe(plan, timing.exits)
    shares.rules(card, {"exit1": 0.8, "exit2": 0.9})     # ExitRules with the shares as they are now

Averages follow requests, not time: a quiet line forgets nothing, a busy one sees within a second that inputs are others
now (`services.planner.moving_average`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.model import ModelCard
from schemas.plan import ExitRule, Plan
from schemas.stages import ExitSeen
from services.planner.calibrated import gone_at, gone_by
from services.planner.moving_average import NO_SAMPLES, Pace, Steady

PACE: Final = Pace(slow=400.0, quick=50.0, jump=0.15)
"""Requests; share of requests."""
CALIBRATED_REQUESTS: Final = 30.0
"""Validation data counts as much as so many requests that were seen here."""
_SURE: Final = 0.01
"""However few leave, or stay, where they were counted: at another threshold it may be others."""
_MOST_KEPT: Final = 512
"""Exits and thresholds, of all models together."""


@dataclass(frozen=True, slots=True)
class Left:
    """Of one exit at one threshold."""

    gone: Steady = NO_SAMPLES
    """Share of all requests that has left by it."""
    met: float = 0.0
    """Requests that were seen to meet it."""


@dataclass(frozen=True, slots=True)
class ExitShares:
    """Of all models; immutable."""

    seen: Mapping[tuple[str, str, float], Left] = field(default_factory=dict)
    """By card, exit and threshold."""

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
            key = (plan.card_sha, rule.name, rule.threshold)
            planned += rule.share
            if rule.name in said:
                one = said[rule.name]
                gone = 1 - (1 - before) * (1 - one.left / one.met)
                known = seen.pop(key, Left())
                seen[key] = Left(known.gone.with_sample(gone, float(one.met), PACE), known.met + one.met)
            known_here = seen.get(key)
            before = max(before, known_here.gone.value() if known_here is not None else min(1.0, planned))
        for oldest in list(seen)[: max(0, len(seen) - _MOST_KEPT)]:
            del seen[oldest]
        return ExitShares(seen)

    def rules(self, card: ModelCard, thresholds: Mapping[str, float], card_sha: str = "") -> tuple[ExitRule, ...]:
        """The open exits in order, with the shares of all requests that are expected to leave there now.

        Args:
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
            gone = self._gone_by(card, sha, one.name, thresholds[one.name], calibrated[one.name])
            share = max(0.0, min(1.0, gone) - so_far)
            so_far += share
            rules.append(ExitRule(name=one.name, block=one.block, threshold=thresholds[one.name], share=share))
        return tuple(rules)

    def _gone_by(self, card: ModelCard, sha: str, name: str, threshold: float, calibrated: float) -> float:
        """The share of all requests that has left by an exit at a threshold, from validation data and what was seen."""
        latest = next(
            ((key[2], left) for key, left in reversed(list(self.seen.items())) if key[:2] == (sha, name)), None
        )
        if latest is None:
            return calibrated
        at, known = latest
        trust = known.met / (known.met + CALIBRATED_REQUESTS)
        if at == threshold:
            return trust * known.gone.value() + (1 - trust) * calibrated
        expected = gone_at(card, name, at)
        if not 0 < calibrated < 1 or not 0 < expected < 1:
            return calibrated
        return _expit(_logit(calibrated) + trust * (_logit(known.gone.value()) - _logit(expected)))

    def now(self, card: ModelCard, plan: Plan) -> tuple[ExitRule, ...]:
        """A plan's exits, with the shares that leave there as they are now."""
        return self.rules(card, {rule.name: rule.threshold for rule in plan.exits}, plan.card_sha)


def _logit(share: float) -> float:
    share = min(1 - _SURE, max(_SURE, share))
    return math.log(share / (1 - share))


def _expit(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


NO_SHARES: Final = ExitShares()
"""Nothing was seen yet."""
