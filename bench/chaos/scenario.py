"""What a scenario is, as a value: what is broken, under which load, and what must hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bench.chaos.made_up import PickModel, small_or_real
from models.made_up import made_up_tensor
from schemas.codec import Array
from schemas.deployment import Deployment
from schemas.model import ModelCard, TensorSpec
from stageline.emulation.fleet_file import FleetFile, load_fleet

if TYPE_CHECKING:
    from bench.chaos.scene import Scene

FLEETS: Final = Path(__file__).with_name("fleets")
GIGABIT: Final = "three_gigabit"
"""A fleet like "three" with links ten times faster: weights that a new plan needs elsewhere move that much sooner."""
DEPLOYMENT: Final = "line"
"""What every scenario's deployment is called."""
PICTURES: Final = 12
"""Different inputs, in turn: an answer to another request is a wrong answer."""

Fault = Callable[["Scene"], Awaitable[None]]
MakeWish = Callable[[ModelCard, FleetFile], Deployment]
MakeInputs = Callable[[ModelCard], Sequence[Mapping[str, Array]]]
Needs = Literal["links", "groups"]


def different_inputs(card: ModelCard) -> Sequence[Mapping[str, Array]]:
    """`PICTURES` made-up inputs, no two alike: bytes and floats are drawn anew for each."""
    draw = np.random.default_rng(0)

    def tensor(spec: TensorSpec) -> Array:
        if spec.dtype == "uint8":
            return draw.integers(0, 256, spec.shape, dtype=np.uint8)
        if spec.dtype.startswith("float"):
            return draw.standard_normal(spec.shape).astype(spec.dtype)
        return made_up_tensor(spec)

    return [{spec.name: tensor(spec) for spec in card.inputs} for _ in range(PICTURES)]


@dataclass(frozen=True, kw_only=True)
class Load:
    """How requests come: at an even pace before, during and after the fault, until there were enough of them."""

    rate_rps: float = 25.0
    least: int = 300
    """Requests at least; the load goes on until there were so many."""
    before_s: float = 2.0
    """From the first answer to the fault."""
    after_s: float = 2.0
    """From the fault function's return to the last request."""
    deadline_s: float = 30.0
    """Of each request."""
    at_once: int = 512
    """Requests without a result at most; then the pace waits for results."""

    def quick(self) -> Load:
        """The same in little: for tests."""
        return replace(
            self, least=min(self.least, 80), before_s=min(self.before_s, 0.7), after_s=min(self.after_s, 0.7)
        )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing that breaks, and what must hold all the same."""

    name: str
    """As it is called on the command line; small letters and dashes."""
    must_hold: str
    """For people: what holds, beside that nothing is lost, shown twice or wrong."""
    wish: MakeWish
    """What is deployed, as `DEPLOYMENT`."""
    fault: Fault
    """Breaks something and waits until the story is over."""
    fleet: str = "three"
    """Stem of a file in `fleets`."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The most that a figure may be, by its name: one of `figures.Figures`, or one that the fault tells the scene."""
    load: Load = field(default_factory=Load)
    model: PickModel = small_or_real
    inputs: MakeInputs = different_inputs
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further `STAGELINE_...` settings of every device."""
    needs: frozenset[Needs] = frozenset()
    """`links`: networks of their own (root); `groups`: control groups (root). Without, it is left out and says so."""
    may_fail: bool = False
    """Whether requests may end in an error. Else one that does is a complaint, with its reason."""

    def fleet_file(self) -> FleetFile:
        """Its fleet."""
        return load_fleet(FLEETS / f"{self.fleet}.toml")
