"""What is measured of the policies: which models on which fleets, for which goals, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Goal = Literal["throughput", "latency"]
GOALS: Final[tuple[Goal, ...]] = ("throughput", "latency")


@dataclass(frozen=True)
class Amount:
    """How much, how often and of what."""

    fleets: dict[str, tuple[str, ...]]
    """Models, by fleet."""
    rounds: int
    flat_out_s: float
    one_by_one: int
    """Requests per round for latency."""
    latency_rounds: int
    """Of latency alone: short and often, because what disturbs it comes in bursts."""
    latency_only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Further models, by fleet, of which no throughput is measured."""

    @property
    def cells(self) -> dict[str, tuple[tuple[str, tuple[Goal, ...]], ...]]:
        """By fleet, all its models and what is measured of each."""
        stems = dict.fromkeys((*self.fleets, *self.latency_only))
        both = {stem: [(model, GOALS) for model in self.fleets.get(stem, ())] for stem in stems}
        return {
            stem: (*both[stem], *((model, ("latency",)) for model in self.latency_only.get(stem, ()))) for stem in stems
        }


FULL: Final = Amount(
    {
        "hml": ("mobilenet_v2", "resnet18", "squeezenet1_1"),
        "hhml": ("mobilenet_v2",),
        "pis": ("mobilenet_v2",),
        "weak_link": ("mobilenet_v2",),
    },
    rounds=2,
    flat_out_s=2.0,
    one_by_one=8,
    latency_rounds=3,
    latency_only={
        "hm": ("mobilenet_v2", "resnet18", "squeezenet1_1"),
        "hhml": ("resnet18", "squeezenet1_1"),
        "pis": ("resnet18", "squeezenet1_1"),
        "weak_link": ("resnet18", "squeezenet1_1"),
        "eight": ("mobilenet_v2",),
    },
)
QUICK: Final = Amount({"hml": ("mobilenet_v2",)}, rounds=1, flat_out_s=1.0, one_by_one=8, latency_rounds=1)
