"""What the planner lets into its experience, and what not."""

from __future__ import annotations

import pytest

from schemas.device import LinkMeasure, Power, Telemetry
from schemas.plan import ExitRule, Plan, Route, Stage
from schemas.stages import HeldStage, StagesHeld, StageState
from schemas.topics import DEVICE_STAGES, DEVICE_TELEMETRY
from services.planner import experience as module
from services.planner.experience import Experience
from services.planner.fleet import Fleet

PI = {"device": "pi"}


class Clock:
    """Time as the experience reads it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def telemetry(mbps: float, age_s: float) -> Telemetry:
    return Telemetry(
        device="pi", boot_id="m", sequence=1, unix_time=0, load=0, capacity_cores=1.0, memory_free_bytes=1,
        memory_bytes=1, power=Power(watts=1, method="modelled", source="made up"),
        link=LinkMeasure(rtt_ms=1, up_mbps=mbps, down_mbps=mbps, probe_bytes=1, age_s=age_s),
    )  # fmt: skip


def holding(state: StageState) -> StagesHeld:
    stage = HeldStage(
        deployment="cats", generation=1, stage="r0s0", model="net", card_sha="a" * 64, first=0, last=1, state=state
    )
    return StagesHeld(device="pi", boot_id="b", online=True, stages=(stage,))


def up_mbps(experience: Experience) -> float:
    link = experience.adaptation.conditions.link("pi")
    assert link is not None
    return round(link.up_mbps, 1)


def test_a_link_measured_while_weights_came_over_it_is_not_believed(clock: Clock) -> None:
    experience = Experience()
    experience.heard(DEVICE_TELEMETRY, PI, telemetry(100.0, 0.0), Fleet(), {})
    clock.now_s = 110.0
    experience.heard(DEVICE_STAGES, PI, holding("loading"), Fleet(), {})
    clock.now_s = 115.0
    experience.heard(DEVICE_TELEMETRY, PI, telemetry(10.0, 0.0), Fleet(), {})
    clock.now_s = 118.0
    experience.heard(DEVICE_STAGES, PI, holding("ready"), Fleet(), {})
    clock.now_s = 125.0
    experience.heard(DEVICE_TELEMETRY, PI, telemetry(10.0, 10.0), Fleet(), {})
    assert up_mbps(experience) == 100.0
    experience.heard(DEVICE_TELEMETRY, PI, telemetry(10.0, 1.0), Fleet(), {})
    assert up_mbps(experience) < 50.0


def test_without_adapting_nothing_is_learned() -> None:
    experience = Experience(adapt=False)
    experience.heard(DEVICE_TELEMETRY, PI, telemetry(100.0, 0.0), Fleet(), {})
    assert experience.adaptation.conditions.link("pi") is None


def test_of_a_device_that_is_gone_nothing_is_kept(clock: Clock) -> None:
    experience, fleet = Experience(), Fleet()
    for topic, message in ((DEVICE_TELEMETRY, telemetry(100.0, 0.0)), (DEVICE_STAGES, holding("loading"))):
        experience.heard(topic, PI, message, fleet, {})
        fleet = fleet.with_message(topic, PI, message)
    for topic in (DEVICE_TELEMETRY, DEVICE_STAGES):
        assert experience.adaptation.conditions.devices
        assert experience._loads_s
        experience.heard(topic, PI, None, fleet, {})
        fleet = fleet.with_message(topic, PI, None)
    assert not experience.adaptation.conditions.devices
    assert not experience._loads_s


def test_what_a_served_plan_expected_of_exits_is_taken_over_only_where_plans_adapt() -> None:
    plan = Plan(
        deployment="cats", generation=3, model="net", card_sha="a" * 64, objective="latency", policy="exact",
        routes=(Route(stages=(Stage(device="pi", first=0, last=4),)),),
        exits=(ExitRule(name="exit1", block=1, threshold=0.8, share=0.7),),
    )  # fmt: skip
    adapts, stays = Experience(), Experience(adapt=False)
    for one in (adapts, stays):
        one.adopt([plan])
    [left] = adapts.adaptation.exits.seen.values()
    assert left.gone.value() == pytest.approx(0.7)
    assert not stays.adaptation.exits.seen
    assert not adapts.adaptation.corrections.learned
