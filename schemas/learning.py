"""What a learning policy has found out of one deployment: the plans it tried, and how much it lost and won by that."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Count, Finite, Fraction, Many, Message, Name, NonNegative, Text

LearningState = Literal["shadow", "acting", "idle"]
"""shadow: exact decides, and the learner only tries plans within its budget. acting: a plan of the learner's that has
been better with confidence is served. idle: it cannot be asked (`reason` says why), and exact decides."""

ServedBy = Literal["exact", "learned", "exploring", "probing"]
"""Why a plan is served: it is exact's; it was better with confidence; it is tried; or it is exact's, seen again."""


class TriedPlan(Message):
    """One plan, as predicted and as measured while it was served."""

    plan: Text
    predicted: NonNegative
    """What is minimised: ms of a request, or ms between two answers under throughput."""
    measured: NonNegative
    """The same, a discounted mean."""
    samples: NonNegative
    """Decisions that this mean is worth."""
    gain: Finite | None = None
    """Share of what exact's plan costs that this one saves, a discounted mean of pairs of measurements; none before
    the first pair."""
    gain_at_least: Finite | None = None
    """Its lower confidence bound; none while there are too few pairs to tell."""
    pairs: NonNegative = 0.0
    """How many pairs that is worth."""


class Learning(Message):
    """Where learning stands for one deployment; retained beside its plan, rewritten after every decision."""

    deployment: Name
    generation: Count
    """Of the plan that is served."""
    policy: Name
    state: LearningState
    reason: Text = ""
    serving: Text = ""
    by: ServedBy = "exact"
    decisions: Count = 0
    """Plans that were served for a while and measured."""
    explored: Count = 0
    """Of those, plans that were served to learn something."""
    explored_share: Fraction = 0.0
    extra_cost: NonNegative = 0.0
    """What exploring has cost beyond the plan it took the place of, as a share of what all was measured to cost."""
    regret: NonNegative = 0.0
    """Moving average of what was served over the best plan known, as a share of that one."""
    gain: Finite | None = None
    """Of what is served over exact's plan: the share of its cost that is saved. 0 while exact's plan is served, none
    while nobody knows."""
    tried: Annotated[Many[TriedPlan], Field(max_length=32)] = ()
    """Exact's plan first."""
