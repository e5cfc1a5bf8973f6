"""What the paper says came of its experiments, asked again of ours. Pure.

Its figures do not name their weight: half and half is reconstructed [R]. A statement about all bandwidths is reproduced
where it holds at all of them, refuted where it holds at fewer than half, and in part between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from bench.study import questions
from bench.study.questions import Curve, Outcome
from bench.study.sweep import Answers

WEIGHT: Final = 0.5

_BOTH: Final[dict[str, Callable[[Curve, str], Outcome]]] = {
    "the joint method has the lowest cost": questions.lowest_cost,
    "the joint method has the lowest latency": questions.lowest_latency,
    "edge-only has the lowest device energy": questions.edge_saves_energy,
    "edge-only is slow where bandwidth is scarce": questions.edge_is_slow,
    "the colony's exits are slightly better than SPINN's": questions.colony_beats_spinn,
    "costs level off above 30 Mbit/s": questions.levels_off,
}
_IMAGES: Final[dict[str, Callable[[Curve, str], Outcome]]] = {
    "a fixed split is worse in latency and cost, and mostly in energy": questions.fixed_is_worse,
    "above 10 Mbit/s even shares need the joint method's energy": questions.same_energy_with_bandwidth,
}
_VIDEO: Final[dict[str, Callable[[Curve, str], Outcome]]] = {
    "above 40 Mbit/s a fixed split needs less energy than most, but is slower": (
        questions.fixed_saves_energy_with_bandwidth
    ),
    "device-only and edge-only are worse than most": questions.alone_is_worse,
    "the joint method is at scarce bandwidth what others are at ample": questions.scarce_is_enough,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One statement, and what became of it."""

    table: str
    statement: str
    verdict: str
    """`reproduced`, `in part` or `refuted`."""
    figures: str
    """What it rests on, in words."""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def verdicts(table: str, answers: Answers, joint: str) -> list[Verdict]:
    """All statements about this table.

    Args:
        table: its name.
        answers: of all methods, at several bandwidths and at least at `WEIGHT`.
        joint: the method that stands for the paper's proposal.

    Raises:
        ValueError: nothing was asked at that weight.
    """
    curve = {point.bandwidth_mbps: every for point, every in answers.items() if point.w == WEIGHT}
    if not curve:
        raise ValueError(f"statements are asked at w {WEIGHT}: sweep it, too")
    asked = _BOTH | (_IMAGES if table == "images" else _VIDEO)
    return [Verdict(table, statement, *question(curve, joint)) for statement, question in asked.items()]
