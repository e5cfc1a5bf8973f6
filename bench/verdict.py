"""One target, what was measured for it, and whether it was reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


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


def rows(results: Mapping[str, Any], part: str) -> list[Row]:
    """The rows of a part that is a list; none where it was not measured."""
    value = results.get(part)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def figure(row: Row, key: str) -> float | None:
    """A finite number of a row; None where there is none, as in rows that say why instead."""
    value = row.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def fleet_of(row: Row) -> str:
    """The row's fleet, by its name."""
    return str(row.get("fleet", ""))


def _not_measured(missing: Sequence[str]) -> str:
    return f"not measured: {', '.join(missing)}" if missing else ""


def sentences(*parts: str) -> str:
    """Remarks in one cell; empty ones are left out."""
    return "; ".join(part for part in parts if part)
