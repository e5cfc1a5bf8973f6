"""What was seen while a scenario ran, as it was seen: requests, results, plans, decisions, and what was done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.deployment import Decision
from schemas.plan import Plan


@dataclass(frozen=True, slots=True)
class Shown:
    """One result as its caller saw it."""

    index: int
    """Of the request, in the order of submitting."""
    at_s: float
    request: str = ""
    """The id that the answer bears; empty for an error."""
    generation: int = 0
    right: bool = True
    """Whether the answer equals the unsplit model's."""
    reason: str = ""
    """Why it failed, in a word; empty for an answer."""
    detail: str = ""
    """Why it failed, as its caller was told."""
    sent: int = 0
    """How often until it failed; 0 for an answer."""

    @property
    def answered(self) -> bool:
        """Whether it is an answer and no error."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done, or seen to be so."""

    at_s: float
    text: str


@dataclass(slots=True)
class Record:
    """Everything that was seen, on one monotonic clock; figures are made of it by `figures.figures_of`."""

    clock: Callable[[], float] = time.monotonic
    submitted: dict[int, float] = field(default_factory=dict)
    """When each request was handed in, by its index."""
    shown: list[Shown] = field(default_factory=list)
    plans: list[tuple[float, Plan]] = field(default_factory=list)
    """Each plan as it became current."""
    announced: list[tuple[float, Plan]] = field(default_factory=list)
    """Each plan as it was published to be prepared."""
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    struck_s: float | None = None
    """When the fault began."""
    load_ended_s: float | None = None
    """When the last request had been handed in."""

    def mark(self, text: str) -> float:
        """Note what happens now; returns when that is."""
        self.marks.append(Mark(self.clock(), text))
        return self.marks[-1].at_s

    @property
    def in_flight(self) -> int:
        """Requests without a result now."""
        return len(self.submitted) - len({one.index for one in self.shown})

    @property
    def generation(self) -> int:
        """The newest that was current; 0 when none was."""
        return max((plan.generation for _, plan in self.plans), default=0)

    def generation_before(self, moment_s: float) -> int:
        """The newest that was current at that moment; 0 when none was."""
        return max((plan.generation for at_s, plan in self.plans if at_s <= moment_s), default=0)
