"""One target, what was measured for it, and whether it was reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line of the table that stands first in the report."""

    name: str
    wanted: str
    measured: str
    reached: bool | None
    """None: nothing, or not everything that it takes, was measured."""
    why: str = ""
    """What the measured figure is of, what is missing, or why it was not reached."""


@dataclass(frozen=True, slots=True)
class Case:
    """One figure that a target asks for: of what, and how much."""

    what: str
    value: float


def judge(
    name: str,
    wanted: str,
    cases: Sequence[Case],
    *,
    reached: Callable[[float], bool],
    more_is_better: bool,
    missing: Sequence[str] = (),
    form: str = "{:.2f}",
    remark: str = "",
) -> Verdict:
    """The verdict over all cases of a target: it is reached when the worst one reaches it and none is missing."""
    if not cases:
        return Verdict(name, wanted, "-", None, sentences(remark, _not_measured(missing)))
    ordered = sorted(cases, key=lambda case: case.value, reverse=not more_is_better)
    worst, best = ordered[0], ordered[-1]
    measured = form.format(worst.value)
    if len(cases) > 1:
        measured += f" (worst of {len(cases)}: {worst.what}; best {form.format(best.value)}: {best.what})"
    short = [f"{case.what} {form.format(case.value)}" for case in ordered if not reached(case.value)]
    verdict = False if short else (None if missing else True)
    misses = f"not reached by {len(short)} of {len(cases)}: {', '.join(short)}" if len(cases) > 1 and short else ""
    return Verdict(name, wanted, measured, verdict, sentences(remark, misses, _not_measured(missing)))


def judge_one(
    name: str,
    wanted: str,
    found: Sequence[Case],
    reached: Callable[[float], bool],
    *,
    form: str,
    less: bool = False,
    remark: str = "",
) -> Verdict:
    """The verdict over what one experiment gives; `less` is better, where that is said."""
    missing = [] if found else ["its experiment"]
    return judge(
        name, wanted, found, reached=reached, more_is_better=not less, missing=missing, form=form, remark=remark
    )


def sentences(*parts: str) -> str:
    """Remarks in one cell; empty ones are left out."""
    return "; ".join(part for part in parts if part)


def _not_measured(missing: Sequence[str]) -> str:
    return f"not measured: {', '.join(missing)}" if missing else ""
