"""A device that lies within the bounds of every single figure spoils no plan of others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from pydantic import ValidationError
from simulations.simulated_fleet import Simulation, Truth

from schemas.deployment import Deployment
from schemas.stages import DEVICE_STAGES_MOST, HeldStage, StagesHeld, StageTiming, Timing
from services.planner.cost import problem_from
from services.planner.events import Decide
from services.planner.facts import DeviceFacts
from services.planner.ground import Ground
from services.planner.plan_making import make_plan
from services.planner.question import Question, consider
from services.planner.usable import NoDeviceError


@dataclass(frozen=True)
class Lie:
    """What a device says of itself."""

    unit: str
    block_ms: float = 1.0
    cores: float = 1.0
    watts: float = 1.0
    up_mbps: float = 100.0

    def told_by(self, honest: DeviceFacts) -> DeviceFacts:
        power = honest.info.power.model_copy(update={"busy_w": self.watts, "idle_w": self.watts})
        return replace(
            honest,
            info=honest.info.model_copy(update={"power": power}),
            profile=honest.profile.model_copy(update={"block_ms": (self.block_ms,) * 8}),
            link=honest.link.model_copy(update={"up_mbps": self.up_mbps}),
        ).at_capacity(self.cores)


LIES = [Lie("ms", block_ms=1e9, cores=1e-3), Lie("J", block_ms=1e6, watts=1e6), Lie("Mbit/s", up_mbps=1e-300)]


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy", "cost"])
@pytest.mark.parametrize("lie", LIES, ids=["slow", "hungry", "thin"])
def test_a_device_whose_figures_are_absurd_together_is_left_out_and_others_are_planned_with(
    objective: Literal["latency", "throughput", "energy", "cost"], lie: Lie
) -> None:
    played = Simulation(
        {"a": Truth(block_ms=2.0), "b": Truth(block_ms=3.0)},
        Deployment(deployment="cats", model="net", objective=objective),
    )
    honest, other = played.facts()
    liar = lie.told_by(honest)
    assert honest.beyond == ""
    assert lie.unit in liar.beyond
    plan, _ = make_plan(
        Decide(1, played.wish, {}, None, "asked for"), Ground(played.card, (liar, other), {}), played.hub
    )
    assert plan.devices == ("b",)
    assert played.plan is not None
    found = consider(Question(played.wish, played.card, (liar, other), played.hub, played.plan, {}, frozenset()))
    assert {stage.device for route in found.best.routes for stage in route.stages} == {"b"}
    with pytest.raises(NoDeviceError, match=lie.unit):
        problem_from(played.card, played.wish, (liar,), played.hub)


def test_what_a_worker_tells_of_is_bounded_in_number() -> None:
    held = HeldStage(
        deployment="cats", generation=1, stage="r0s0", model="net", card_sha="a" * 64, first=0, last=1, state="ready"
    )
    timing = StageTiming(
        deployment="cats", generation=1, stage="r0s0", frames=1, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=0,
        bytes_out=0,
    )  # fmt: skip
    most = DEVICE_STAGES_MOST
    StagesHeld(device="pi4", boot_id="b", online=True, stages=(held,) * most)
    Timing(device="pi4", boot_id="b", period_s=1, queue_depth=0, stages=(timing,) * most)
    with pytest.raises(ValidationError, match="at most 256"):
        StagesHeld(device="pi4", boot_id="b", online=True, stages=(held,) * (most + 1))
    with pytest.raises(ValidationError, match="at most 256"):
        Timing(device="pi4", boot_id="b", period_s=1, queue_depth=0, stages=(timing,) * (most + 1))
