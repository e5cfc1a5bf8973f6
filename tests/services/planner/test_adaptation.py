"""What the planner remembers of a plan under review, and what it drops with the plan, the wish or the device."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import pytest
from simulations.simulated_fleet import Simulation, Truth

from schemas.deployment import Deployment
from schemas.plan import Plan
from schemas.stages import StageTiming, Timing
from schemas.topics import DEVICE_TIMING
from services.planner.adapting import Adapting
from services.planner.drift import Drift, Rules
from services.planner.experience import Experience
from services.planner.facts import HubFacts
from services.planner.policy import Choice
from services.planner.question import Question
from services.planner.review import Review

WISH = Deployment(deployment="cats", model="net")


@pytest.fixture
def played() -> Simulation:
    simulation = Simulation({"a": Truth(block_ms=2.0), "b": Truth(block_ms=3.0)}, WISH, seed=1, rate_rps=10.0)
    simulation.run(30)
    return simulation


def plan_of(played: Simulation) -> Plan:
    assert played.plan is not None
    return played.plan


def question(played: Simulation, plan: Plan) -> Question | None:
    return played.adaptation.question(
        wish=WISH, card=played.card, rest=played._rest(), serving=plan, fleet=played.fleet, hub=played.hub,
        now_s=played.now_s,
    )  # fmt: skip


def finding(gain: float) -> Review:
    choice = Mock(spec=Choice)
    return Review(choice, choice, gain, switch_s=1.0, moved_bytes=0, sudden=False, cause="")


def test_a_plan_that_has_come_in_place_of_another_starts_anew_and_the_moves_before_it_count(
    played: Simulation,
) -> None:
    played.adaptation = replace(played.adaptation, drifts={"cats": Drift(agreed=4, moves=3)})
    asked = question(played, plan_of(played).model_copy(update={"generation": 2}))
    assert asked is not None
    after, move = played.adaptation.judged(asked, finding(0.2), now_s=played.now_s, rules=Rules())
    assert not move
    assert after.drifts["cats"] == Drift(agreed=1, moved_s=played.now_s, moves=3)


def test_a_quota_is_news_until_a_review_has_found_that_it_does_not_matter(played: Simulation) -> None:
    watched = played.adaptation.watched["cats"]
    news = replace(watched, capacities={"a": 2.0, "b": 1.0}, facts=())
    played.adaptation = replace(played.adaptation, watched={"cats": news})
    asked = question(played, plan_of(played))
    assert asked is not None
    assert asked.exact == {"a"}
    found_worse, _ = played.adaptation.judged(asked, finding(0.5), now_s=played.now_s, rules=Rules())
    assert found_worse.watched["cats"].capacities["a"] == 2.0
    found_well, _ = played.adaptation.judged(asked, finding(0.0), now_s=played.now_s, rules=Rules())
    assert found_well.watched["cats"].capacities["a"] == 1.0


def test_a_review_that_ended_in_an_error_is_not_repeated_until_facts_change(played: Simulation) -> None:
    second = plan_of(played).model_copy(update={"generation": 2})
    asked = question(played, second)
    assert asked is not None
    played.adaptation = played.adaptation.unjudged(asked, now_s=played.now_s)
    assert question(played, second) is None
    played.change("a", cores=0.5)
    played._second()
    assert question(played, second) is not None


def test_a_heartbeat_that_repeats_itself_counts_once(played: Simulation) -> None:
    plan = plan_of(played)
    device = plan.devices[0]
    stage = StageTiming(
        deployment="cats", generation=plan.generation, stage="r0s0", frames=10, wait_ms=0, compute_ms=50, codec_ms=0,
        bytes_in=0, bytes_out=0,
    )  # fmt: skip
    timing = Timing(device=device, boot_id="w", period_s=1, queue_depth=0, stages=(stage,) * 256)
    after = played.adaptation.heard(
        DEVICE_TIMING, {"device": device}, timing, now_s=played.now_s + 1, fleet=played.fleet, serving={"cats": plan}
    )
    before = played.adaptation.corrections.learned[device, "net"].samples
    assert after.corrections.learned[device, "net"].samples == before + 1


def test_what_was_found_of_a_wish_goes_with_it(played: Simulation) -> None:
    deployments, experience = Mock(wishes={"cats": WISH}), Experience()
    experience.adaptation = played.adaptation
    adapting = Adapting(Mock(), Mock(), deployments, Mock(), experience, hub=HubFacts(), rules=Rules())
    adapting._forget_past_wishes()
    assert experience.adaptation.watched.keys() == {"cats"}
    deployments.wishes = {"cats": WISH.model_copy(update={"objective": "energy"})}
    adapting._forget_past_wishes()
    assert not experience.adaptation.watched
    assert not experience.adaptation.drifts
