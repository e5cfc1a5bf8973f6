"""Every method at every point of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from bench.study.methods import NAMES, Table, on_paper
from bench.study.problem import Decision, Point

BANDWIDTHS_MBPS: Final = tuple(float(bandwidth) for bandwidth in range(1, 51))
WEIGHTS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
FEW_BANDWIDTHS_MBPS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0)
FEW_WEIGHTS: Final = (0.1, 0.5, 0.9)

Answers = Mapping[Point, Mapping[str, Decision]]
"""By point, what each method does there."""
Deciding = Callable[[Sequence[Point]], Sequence[Decision]]


def grid(bandwidths_mbps: Iterable[float], weights: Iterable[float]) -> list[Point]:
    """All points of a sweep, weight by weight."""
    bandwidths = tuple(bandwidths_mbps)
    return [Point(bandwidth, w) for w in weights for bandwidth in bandwidths]


def sweep(
    table: Table, points: Sequence[Point], learned: Mapping[str, Deciding], tell: Callable[[int], None]
) -> dict[Point, dict[str, Decision]]:
    """What every method does at every point.

    Args:
        table: whose.
        points: where.
        learned: by method, policies that were trained for this table.
        tell: is told how many points are done.
    """
    of_learners = {name: deciding(points) for name, deciding in learned.items()}
    found: dict[Point, dict[str, Decision]] = {}
    for number, point in enumerate(points):
        every = on_paper(table, point) | {name: decisions[number] for name, decisions in of_learners.items()}
        found[point] = {name: every[name] for name in sorted(every, key=_order)}
        tell(number + 1)
    return found


def rows(table: str, answers: Answers) -> list[dict[str, Any]]:
    """As results.json has it: one row for each method at each point; sums over all devices."""
    return [
        {
            "table": table, "bandwidth_mbps": point.bandwidth_mbps, "w": point.w, "method": name,
            "cost": decision.cost, "latency_s": decision.latency_s, "energy_j": decision.energy_j,
        }
        for point, decisions in answers.items()
        for name, decision in decisions.items()
    ]  # fmt: skip


def _order(name: str) -> int:
    return list(NAMES).index(name) if name in NAMES else -1
