"""A picture of one scenario: answers per 100 ms, with what was done marked and each generation's time shaded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from bench.chaos.outcome import Outcome
from bench.chaos.record import Record
from bench.report.picture import COLOURS, drawing, literal

BIN_S: Final = 0.1
_SHADES: Final = ("#dfe8f3", "#f6ead9", "#e2f0e5", "#f0e1e4", "#e9e3f1")
_DOTS_PER_INCH: Final = 110
_BEFORE_S: Final = 1e-9


def counts(moments_s: Sequence[float], begin_s: float, end_s: float) -> list[int]:
    """How many moments lie in each `BIN_S` of `[begin_s, end_s)`."""
    bins = max(1, int(np.ceil((end_s - begin_s) / BIN_S - _BEFORE_S)))
    places = np.floor((np.asarray(moments_s, dtype=np.float64) - begin_s) / BIN_S + _BEFORE_S).astype(np.int64)
    found: list[int] = np.bincount(places[(places >= 0) & (places < bins)], minlength=bins).tolist()
    return found


def draw_timeline(outcome: Outcome, path: Path) -> bool:
    """Write the picture as PNG; False where there is nothing to draw."""
    record = outcome.record
    if record is None or not record.submitted:
        return False
    zero_s = record.struck_s if record.struck_s is not None else min(record.submitted.values())
    begin_s = np.floor((min(record.submitted.values()) - zero_s) / BIN_S) * BIN_S
    ends_s = [record.load_ended_s or zero_s, *(one.at_s for one in record.shown), *(one.at_s for one in record.marks)]
    end_s = max(ends_s) - zero_s + BIN_S
    drawn, (axes,) = drawing(width=10.0, height=3.6)
    _shade(axes, record, zero_s, begin_s, end_s)
    places = begin_s + BIN_S * np.arange(len(counts([], begin_s, end_s)))
    answered = counts([one.at_s - zero_s for one in record.shown if one.answered], begin_s, end_s)
    failed = counts([one.at_s - zero_s for one in record.shown if not one.answered], begin_s, end_s)
    handed_in = counts([at_s - zero_s for at_s in record.submitted.values()], begin_s, end_s)
    axes.bar(places, answered, BIN_S * 0.9, align="edge", color=COLOURS[0], label="answers")
    if any(failed):
        axes.bar(places, failed, BIN_S * 0.9, bottom=answered, align="edge", color=COLOURS[3], label="errors")
    axes.step(places, handed_in, where="post", color="#333", lw=0.7, alpha=0.6, label="submitted")
    _marks(axes, record, zero_s)
    axes.set_xlim(begin_s, end_s)
    axes.set_ylim(0, 1.3 * max(1, *answered, *failed, *handed_in))
    axes.set_xlabel("seconds from the fault", labelpad=10)
    axes.set_ylabel("per 100 ms")
    axes.legend(loc="upper right", fontsize=7, frameon=False, ncols=3)
    verdict = "held" if outcome.held else "not held"
    axes.set_title(literal(f"{outcome.name}: {outcome.must_hold} ({verdict})"), loc="left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, format="png", dpi=_DOTS_PER_INCH)
    return True


def _shade(axes: Axes, record: Record, zero_s: float, begin_s: float, end_s: float) -> None:
    """The time of each generation, from when it was current."""
    starts = [(max(at_s - zero_s, begin_s), plan.generation) for at_s, plan in record.plans]
    for number, ((from_s, generation), (to_s, _)) in enumerate(pairwise([*starts, (end_s, 0)])):
        if to_s > from_s:
            axes.axvspan(from_s, to_s, color=_SHADES[number % len(_SHADES)], lw=0, zorder=0)
            axes.annotate(
                f"generation {generation}", (from_s, 0), xycoords=("data", "axes fraction"), xytext=(2, -21),
                textcoords="offset points", fontsize=6, color="#556", annotation_clip=False,
            )  # fmt: skip


def _marks(axes: Axes, record: Record, zero_s: float) -> None:
    for number, mark in enumerate(record.marks):
        at_s = mark.at_s - zero_s
        axes.axvline(at_s, color=COLOURS[3], lw=1.2, ls="-" if mark.at_s == record.struck_s else ":")
        axes.annotate(
            literal(mark.text), (at_s, 1), xycoords=("data", "axes fraction"), xytext=(3, -9 - 10 * (number % 4)),
            textcoords="offset points", fontsize=7, color=COLOURS[3],
        )  # fmt: skip
