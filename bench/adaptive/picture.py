"""Latency and throughput over time, a line for each contender, with the disturbances shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.adaptive.trace import Change, spans
from bench.report.picture import COLOURS, literal, logarithmic

BIN_S: Final = 2.0
_SHADES: Final = {"load": "#f6ead9", "cores": "#f0e1e4", "link": "#dfe8f3"}
_DOTS_PER_INCH: Final = 110


def draw(
    path: Path, curves: Mapping[str, Mapping[str, Mapping[str, Any]]], trace: Sequence[Change], seconds: float
) -> None:
    """Write the picture as PNG.

    Args:
        path: where.
        curves: by load and contender, `bench.adaptive.figures.over_time` of the run.
        trace: what changed.
        seconds: how long it was.
    """
    with mpl.rc_context({"font.size": 9.0}):
        drawn = Figure(figsize=(11.0, 2.6 * 2 * max(1, len(curves))), layout="constrained")
        panels = drawn.subplots(2 * max(1, len(curves)), 1, sharex=True, squeeze=False)[:, 0]
    for number, (load, contenders) in enumerate(curves.items()):
        slow, fast = panels[2 * number], panels[2 * number + 1]
        for axes, key, label in ((slow, "p95_ms", "p95 latency, ms"), (fast, "throughput_rps", "answers per second")):
            _shade(axes, trace, seconds, named=axes is slow)
            for colour, (name, curve) in zip(COLOURS, contenders.items(), strict=False):
                axes.plot(curve["at_s"], curve[key], lw=1.2, color=colour, label=literal(name))
            axes.set_ylabel(label)
            axes.set_xlim(0, seconds)
            axes.spines[["top", "right"]].set_visible(False)
        logarithmic(slow)
        slow.set_title(literal(f"{load} load"), loc="left", fontsize=9)
        slow.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7, frameon=False, ncols=4)  # above the labels
    panels[-1].set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, format="png", dpi=_DOTS_PER_INCH)


def _shade(axes: Axes, trace: Sequence[Change], seconds: float, *, named: bool) -> None:
    for number, (from_s, to_s, change) in enumerate(spans(trace, seconds)):
        axes.axvspan(from_s, to_s, color=_SHADES[change.what], lw=0, zorder=0)
        if named:
            axes.annotate(
                literal(str(change)), (from_s, 1), xycoords=("data", "axes fraction"),
                xytext=(2, -8 - 8 * (number % 2)), textcoords="offset points", fontsize=6, color="#556",
            )  # fmt: skip
