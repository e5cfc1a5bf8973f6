"""What others say to the planner is bounded in number, and whatever they claim can be added up and told."""

from __future__ import annotations

from collections import Counter
from unittest.mock import AsyncMock, Mock, patch

import pytest
from made_up_plans import made_up_plan

from schemas.accuracy import RouteSeen, Seen
from schemas.deployment import Deployment
from schemas.device import DeviceStatus
from schemas.plan import Prediction, Route, Stage, StagePrediction
from schemas.stages import StageTiming, Timing
from schemas.topics import DEVICE_STATUS
from services.planner.accuracy import MOST_SAMPLES, MOST_TOLD, Ledger
from services.planner.decide import Decider
from services.planner.deployments import MOST_DEPLOYMENTS, MOST_REMEMBERED, Deployments
from services.planner.events import Decide, Event, Refused
from services.planner.fleet import Fleet, changed
from services.planner.patience import Patience
from services.planner.rollout_state import Rollout
from services.planner.usable import NoDeviceError
from services.planner.wording import measuring

PLAN = made_up_plan(
    (
        Route(
            stages=(Stage(device="pi4", first=0, last=4),),
            predicted=Prediction(latency_ms=1e-9, throughput_rps=1e-9, energy_j=0),
            stage_predictions=(StagePrediction(down_ms=0, compute_ms=1e-9, up_ms=0),),
        ),
    )
)


def test_what_workers_and_submitters_claim_can_be_told_however_absurd() -> None:
    most = StageTiming(
        deployment="cats", generation=1, stage="r0s0", frames=2**53, wait_ms=1e18, compute_ms=1e18, codec_ms=1e18,
        bytes_in=2**53, bytes_out=2**53,
    )  # fmt: skip
    timing = Timing(device="pi4", boot_id="b", period_s=0, queue_depth=0, stages=(most,) * 9)
    route = RouteSeen(route=0, answers=2**53, latency_ms=1e18, waiting=2**53, silent_s=1e18)
    ledger = Ledger(PLAN)
    for number in range(5000):
        seen = Seen(submitter=f"s{number}", deployment="cats", generation=1, period_s=0, routes=(route,))
        ledger = ledger.with_seen(seen, 0.0)
    for _ in range(9):
        ledger = ledger.with_timing(timing)
    told = ledger.accuracy(0.0)
    assert told.error == MOST_TOLD
    assert told.stages[0].compute_ms.measured == MOST_TOLD
    assert told.stages[0].compute_ms.samples == MOST_SAMPLES
    assert told.routes[0].throughput_rps.measured == MOST_TOLD
    assert len(ledger.rates) <= 1024


def test_so_many_deployments_are_served_and_the_next_is_refused_until_one_is_taken_back() -> None:
    bus = Mock()
    deployments = Deployments(bus, Mock(), Patience())
    for number in range(MOST_DEPLOYMENTS):
        name = f"d{number}"
        assert deployments._admits(name)
        wish = Deployment(deployment=name, model="net")
        deployments._rollouts[name] = Mock(wish=wish, current=None)
    assert not deployments._admits("one-more")
    bus.dropped.assert_called_once()
    assert "stageline undeploy" in bus.dropped.call_args.args[2]
    assert deployments._admits("d0")
    deployments._rollouts["d7"] = Mock(wish=None, current=None, generation=7)
    assert deployments._admits("one-more")
    assert len(deployments._rollouts) == MOST_DEPLOYMENTS
    assert "d7" not in deployments._rollouts


def test_a_deployment_that_had_to_give_up_its_place_continues_from_its_generation_when_it_comes_back() -> None:
    deployments = Deployments(Mock(), Mock(), Patience())
    for number in range(MOST_DEPLOYMENTS):
        assert deployments._admits(f"d{number}")
    deployments._rollouts["d0"] = Rollout("d0", generation=41)
    assert deployments._admits("one-more")
    assert "d0" not in deployments._rollouts
    assert deployments._admits("d0")
    assert deployments._rollouts["d0"].generation == 41
    for number in range(MOST_REMEMBERED + 100):
        assert deployments._admits(f"e{number}")
    assert len(deployments._generations) == MOST_REMEMBERED


async def test_numbers_nobody_thought_of_end_one_decision_also_while_room_is_looked_for() -> None:
    library = Mock(cards={"net": Mock()}, scan=AsyncMock(), learn_rows=AsyncMock())
    decider = Decider(Mock(), library, Mock(within_s=9.0), Mock(), Mock())
    told: list[Event] = []
    question = Decide(7, Deployment(deployment="cats", model="net"), {})
    absurd = Mock(side_effect=[NoDeviceError("no device is left"), ValueError("1e30 is too large")])
    with patch.multiple(decider, _measure=AsyncMock(), _ground=absurd):
        await decider.decide(question, (), told.append)
    assert [type(one) for one in told] == [Refused]
    assert isinstance(told[0], Refused)
    assert "no device is left" in told[0].decision.error


def test_thousands_of_devices_that_are_asked_to_measure_fit_into_a_decision() -> None:
    decision = measuring(Deployment(deployment="cats", model="net"), [f"ghost-{number}" for number in range(4096)])
    assert len(decision.explanation) <= 4096


@pytest.mark.parametrize("count", [1, 500])
def test_what_one_message_changes_is_looked_at_alone_however_many_devices_there_are(count: int) -> None:
    fleet = Fleet()
    for number in range(count):
        status = DeviceStatus(device=f"d{number}", boot_id="b", online=True)
        fleet = fleet.with_message(DEVICE_STATUS, {"device": status.device}, status)
    after = fleet.with_message(DEVICE_STATUS, {"device": "d0"}, DeviceStatus(device="d0", boot_id="c", online=True))
    assert changed(fleet, after) == ["d0"]
    assert changed(fleet, fleet.with_hung({})) == []
    assert Counter(changed(fleet, after.with_hung({"d0": "silent"}))) == {"d0": 1}
    gone = after.with_message(DEVICE_STATUS, {"device": "d0"}, None)
    assert changed(after, gone) == ["d0"]
