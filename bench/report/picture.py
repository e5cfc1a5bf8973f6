"""Plots: drawn without a screen, kept as vector graphics inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from bench.figures import figure

COLOURS: Final = ("#1b6ca8", "#e07a1f", "#3a9d5d", "#b23a48", "#7a5ba6", "#8c6d46", "#d16ba5", "#6b7280", "#b0a030")
Rows = Sequence[Mapping[str, Any]]


def drawing(plots: int = 1, *, width: float = 8.6, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """An empty figure with that many plots side by side; inches."""
    with mpl.rc_context({"font.size": 9.0}):
        made = Figure(figsize=(width, height), layout="constrained")
        every = [made.add_subplot(1, plots, number + 1) for number in range(plots)]
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6ea")
        axes.set_axisbelow(True)
    return made, every


def data_uri(drawn: Figure) -> str:
    """The figure as an SVG that needs nothing from outside: letters are outlines."""
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "stageline"}):
        drawn.savefig(stream, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"


def grouped_bars(axes: Axes, rows: Rows, *, group: str, series: str, value: str, spread: str = "") -> bool:
    """Bars of `value`, next to each other by `series` within each `group`, with quartiles where the rows have them.

    Returns:
        Whether there was anything to draw.
    """
    known = [row for row in rows if figure(row, value) is not None]
    groups = list(dict.fromkeys(str(row.get(group, "")) for row in known))
    names = list(dict.fromkeys(str(row.get(series, "")) for row in rows))
    width = min(0.35, 0.8 / max(1, len(names)))
    for number, name in enumerate(names):
        mine = [row for row in known if str(row.get(series, "")) == name]
        if not mine:
            continue
        places = [groups.index(str(row.get(group, ""))) + (number - (len(names) - 1) / 2) * width for row in mine]
        heights = [float(row[value]) for row in mine]
        colour = COLOURS[number % len(COLOURS)]
        axes.bar(places, heights, width * 0.92, label=literal(name), color=colour)
        whiskers = [_whisker(row, value, spread) for row in mine]
        axes.errorbar(
            places, heights, yerr=list(zip(*whiskers, strict=True)) or None, fmt="none", ecolor="#333", lw=0.8
        )
    axes.set_xlim(-0.6, max(1, len(groups)) - 0.4)
    axes.set_xticks(range(len(groups)), [literal(one) for one in groups], rotation=0 if len(groups) < 5 else 20)
    return bool(known)


def lines(axes: Axes, rows: Rows, *, along: str, value: str, series: str) -> bool:
    """One line per `series`, points by `along`; a series has the same colour in every plot of the same rows.

    Returns:
        Whether there was anything to draw.
    """
    known = [row for row in rows if figure(row, value) is not None and figure(row, along) is not None]
    for number, name in enumerate(dict.fromkeys(str(row.get(series, "")) for row in rows)):
        mine = sorted((row for row in known if str(row.get(series, "")) == name), key=lambda row: float(row[along]))
        points = [(float(row[along]), float(row[value])) for row in mine]
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), "o-", ms=3, label=literal(name), color=COLOURS[number % len(COLOURS)])
    return bool(known)


def legend_above(drawn: Figure, axes: Axes) -> None:
    """What the colours of one plot mean, for the whole figure, where it hides no bar."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        drawn.legend(handles, labels, loc="outside upper left", fontsize=7, frameon=False, ncols=min(4, len(labels)))


def logarithmic(*every: Axes) -> None:
    """A logarithmic scale upwards, with numbers as people write them."""
    for axes in every:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter())
        axes.tick_params(axis="y", which="minor", labelsize=6)


def literal(name: str) -> str:
    """A name as it is: a dollar sign begins no formula, and an underscore first hides nothing from the legend."""
    shown = name.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _whisker(row: Mapping[str, Any], value: str, spread: str) -> tuple[float, float]:
    quartiles = row.get(spread)
    if not (isinstance(quartiles, list) and len(quartiles) == 2):
        return 0.0, 0.0
    low, high = (figure({"at": quartile}, "at") for quartile in quartiles)
    if low is None or high is None:
        return 0.0, 0.0
    return max(0.0, float(row[value]) - low), max(0.0, high - float(row[value]))
