"""How a scenario ended: its figures against its limits, and all that was complained of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bench.chaos.figures import Figures, figures_of, reasons
from bench.chaos.record import Record
from bench.chaos.scenario import Scenario

if TYPE_CHECKING:
    from bench.chaos.scene import Scene

_MOST_DETAILS = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a figure may be, and what it was; None when the moment never came."""

    figure: str
    most: float
    value: float | None

    @property
    def held(self) -> bool:
        """Whether it was at most so."""
        return self.value is not None and self.value <= self.most

    def __str__(self) -> str:
        value = "never" if self.value is None else f"{self.value:.0f}"
        return f"{self.figure} {value} (at most {self.most:g})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one scenario."""

    name: str
    must_hold: str
    figures: Figures | None
    limits: tuple[Limit, ...] = ()
    complaints: tuple[str, ...] = ()
    told: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    record: Record | None = None
    audit: dict[str, int] = field(default_factory=dict)
    left_out: str = ""
    """Why it was not played; empty when it was."""
    broken: bool = False
    """Whether its devices are no good for another scenario."""
    took_s: float = 0.0
    """Deploying and removing included."""

    @classmethod
    def left_out_because(cls, scenario: Scenario, why: str) -> Self:
        """It cannot be played here."""
        return cls(scenario.name, scenario.must_hold, None, left_out=why)

    @classmethod
    def failed_because(cls, scenario: Scenario, why: str) -> Self:
        """It could not even begin."""
        return cls(scenario.name, scenario.must_hold, None, complaints=(why,), broken=True)

    @property
    def held(self) -> bool | None:
        """Whether everything held; None when it was left out."""
        if self.left_out:
            return None
        return not self.complaints and all(limit.held for limit in self.limits)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        row: dict[str, Any] = {"scenario": self.name, "must_hold": self.must_hold, "held": self.held}
        if self.left_out:
            return {**row, "left_out": self.left_out}
        row |= self.figures.as_dict() if self.figures else {}
        row |= {name: _number(value) for name, value in self.told.items()}
        row["limits"] = {
            one.figure: {"most": one.most, "value": _number(one.value), "held": one.held} for one in self.limits
        }
        row["took_s"] = round(self.took_s, 1)
        row |= {"complaints": list(self.complaints), "remarks": list(self.remarks), "audit": self.audit}
        if self.record is not None:
            row |= _story(self.record)
        return row


def _number(value: float | None) -> float | None:
    """For JSON, which has no word for what is no number."""
    return None if value is None or not math.isfinite(value) else round(value, 3)


def judged(scene: Scene) -> Outcome:
    """What became of a scene that is over."""
    figures, scenario = figures_of(scene.record), scene.scenario
    values: dict[str, float | None] = {**figures.as_dict(), **scene.told}
    return Outcome(
        scenario.name,
        scenario.must_hold,
        figures,
        tuple(Limit(name, most, values.get(name)) for name, most in scenario.limits.items()),
        (*scene.complaints, *_always(figures, scenario, scene)),
        scene.told,
        tuple(scene.remarks),
        scene.record,
        scene.client.audit.as_dict(),
        broken=scene.broken,
    )


def _always(figures: Figures, scenario: Scenario, scene: Scene) -> Iterator[str]:
    """What must hold in every scenario."""
    for name in ("lost", "duplicates_visible", "wrong"):
        if count := getattr(figures, name):
            yield f"{count} {name.replace('_', ' ')}"
    if figures.failed_with_reason and not scenario.may_fail:
        yield f"{figures.failed_with_reason} failed: {_details(scene.record)}"


def _details(record: Record) -> str:
    details = dict.fromkeys(one.detail for one in record.shown if not one.answered)
    return "; ".join(list(details)[:_MOST_DETAILS])


def _story(record: Record) -> dict[str, Any]:
    """What happened when, ms from the fault, for those who look closer."""
    zero_s = record.struck_s if record.struck_s is not None else min(record.submitted.values(), default=0.0)

    def ms(at_s: float) -> float:
        return round((at_s - zero_s) * 1000, 1)

    return {
        "failures": reasons(record.shown),
        "failure_details": list(dict.fromkeys(one.detail for one in record.shown if not one.answered))[:_MOST_DETAILS],
        "marks": [{"ms": ms(mark.at_s), "text": mark.text} for mark in record.marks],
        "plans": [{"ms": ms(at_s), "generation": plan.generation, "plan": str(plan)} for at_s, plan in record.plans],
        "decisions": [
            {
                "ms": ms(at_s), "state": decision.state, "generation": decision.generation, "cause": decision.cause,
                "error": decision.error,
            }
            for at_s, decision in record.decisions
        ],
    }  # fmt: skip
