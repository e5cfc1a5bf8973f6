"""What learning may cost: how many decisions serve a plan only to learn of it, and how much that may slow down.

Counted in decisions and in shares of what would have been served instead, so that it means the same for every model.
Immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_EXTRA_MOST: Final = 1e6


@dataclass(frozen=True, slots=True)
class Limits:
    """How much."""

    share: float = 0.2
    """Of all decisions, may be spent on learning; and `free` more,"""
    free: int = 6
    """because at first nothing is known."""
    cost_share: float = 0.04
    """What was spent may have cost so much more than what it took the place of, as a share of all that was served;"""
    cost_free: float = 1.0
    """and this many times one decision's cost on top."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What was spent."""

    limits: Limits = Limits()
    decisions: int = 0
    explored: int = 0
    extra: float = 0.0
    """In decisions: 1.0 is what one decision would have cost without learning."""

    def allows(self, extra: float, part: float = 1.0) -> bool:
        """Whether one more may be spent that is expected to cost so much more, as a share (0.2: a fifth longer).

        `part`: of all that learning may cost, that has not to be exceeded then.
        """
        limits = self.limits
        in_number = self.explored + 1 <= limits.free + limits.share * self.decisions
        most = part * (limits.cost_share * self.decisions + limits.cost_free)
        return in_number and self.extra + max(0.0, extra) <= most

    def decided(self) -> Budget:
        """After a decision that served what is known to be good."""
        return replace(self, decisions=self.decisions + 1)

    def spent(self, extra: float) -> Budget:
        """After one that served something to learn, and that cost so much more, as a share; less counts as nothing."""
        extra = min(_EXTRA_MOST, max(0.0, extra))
        return replace(self, decisions=self.decisions + 1, explored=self.explored + 1, extra=self.extra + extra)

    @property
    def explored_share(self) -> float:
        """Of the decisions so far."""
        return self.explored / self.decisions if self.decisions else 0.0

    @property
    def extra_share(self) -> float:
        """What learning has cost, as a share of all that was served."""
        return self.extra / self.decisions if self.decisions else 0.0
