"""The study's figures: latency, energy and cost over bandwidth; how far from the best; what the weight does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.picture import COLOURS, drawing, legend_above, literal, logarithmic
from bench.study.methods import NAMES
from bench.study.problem import Decision
from bench.study.statements import WEIGHT
from bench.study.sweep import Answers

_SHOWN_MBPS: Final = 10.0


def over_bandwidth(answers: Answers) -> Figure:
    """Latency, energy and cost by bandwidth at one weight, a line for each method: the paper's figures."""
    drawn, panels = drawing(3, width=11.0, height=3.6)
    curve = {point.bandwidth_mbps: every for point, every in answers.items() if point.w == WEIGHT}
    figures: dict[str, Callable[[Decision], float]] = {
        "latency, s": lambda one: one.latency_s,
        "device energy, J": lambda one: one.energy_j,
        "cost": lambda one: one.cost,
    }
    for axes, (label, figure) in zip(panels, figures.items(), strict=True):
        for name in next(iter(curve.values())):
            _line(axes, name, curve.keys(), [figure(every[name]) for every in curve.values()])
        axes.set_xlabel("Mbit/s")
        axes.set_ylabel(label)
    logarithmic(*panels)
    legend_above(drawn, panels[0])
    return drawn


def over_exact(tables: Mapping[str, Answers]) -> Figure:
    """Every method's cost over the best one's by bandwidth, the mean of all weights; a panel for each table."""
    drawn, panels = drawing(len(tables), width=10.0, height=3.6)
    for axes, (table, answers) in zip(panels, tables.items(), strict=True):
        bandwidths = list(dict.fromkeys(point.bandwidth_mbps for point in answers))
        for name in next(iter(answers.values())):
            over = [
                fmean(
                    every[name].cost / every["exact"].cost
                    for point, every in answers.items()
                    if point.bandwidth_mbps == at
                )
                for at in bandwidths
            ]
            _line(axes, name, bandwidths, over)
        axes.set_xlabel("Mbit/s")
        axes.set_ylabel(f"{table}: cost / least cost")
        axes.set_ylim(0.97, 3)
    legend_above(drawn, panels[0])
    return drawn


def over_weights(tables: Mapping[str, Answers]) -> Figure:
    """Latency against energy at one bandwidth while the weight goes from one to the other; a panel for each table."""
    drawn, panels = drawing(len(tables), width=10.0, height=3.6)
    for axes, (table, answers) in zip(panels, tables.items(), strict=True):
        mine = {point.w: every for point, every in answers.items() if point.bandwidth_mbps == _SHOWN_MBPS}
        for name in next(iter(mine.values())):
            if name != "fixed-6":
                energy = [every[name].energy_j for every in mine.values()]
                _line(axes, name, [every[name].latency_s for every in mine.values()], energy, marker="o")
        axes.set_xlabel(f"{table}: latency, s, at {_SHOWN_MBPS:g} Mbit/s")
        axes.set_ylabel("device energy, J")
    legend_above(drawn, panels[0])
    return drawn


def save(drawn: Figure, file: Path) -> None:
    """Write it as SVG, the same bytes for the same figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "stageline"}):
        drawn.savefig(file, format="svg", metadata={"Date": None})


def _line(axes: Axes, name: str, along: Iterable[float], values: Iterable[float], marker: str = "") -> None:
    best = name == "exact"
    colour = "#111" if best else COLOURS[list(NAMES).index(name) % len(COLOURS)]
    axes.plot(
        list(along), list(values), marker=marker, ms=3, label=literal(name), color=colour, ls="--" if best else "-",
        lw=1.0 if best else 1.4, zorder=3 if best else 2,
    )  # fmt: skip
