"""The routes of a plan as a submitter sees them: values in, values out."""

from __future__ import annotations

import pytest
from made_up_plans import made_up_plan

from schemas.plan import Plan, Prediction, Route, Stage
from schemas.stages import HeldStage, StagesHeld
from stageline.route_choice import RouteBoard

SHA = "0" * 64


def plan(*routes: Route, generation: int = 1, in_turn: bool = False) -> Plan:
    return made_up_plan(routes, deployment="d", generation=generation, model="m", card_sha=SHA, in_turn=in_turn)


def route(*devices: str, weight: float = 1.0, window: int = 2) -> Route:
    return Route(
        stages=tuple(Stage(device=device, first=i, last=i + 1) for i, device in enumerate(devices)),
        weight=weight,
        window=window,
    )


def worker(device: str, *stages: str, online: bool = True, generation: int = 1, boot: str = "b1") -> StagesHeld:
    held = tuple(
        HeldStage(
            deployment="d", generation=generation, stage=stage, model="m", card_sha=SHA, first=0, last=1, state="ready"
        )
        for stage in stages
    )
    return StagesHeld(device=device, boot_id=boot, online=online, stages=held)


def test_no_more_than_the_window_is_under_way_on_a_route() -> None:
    board = RouteBoard(plan(route("a", window=2)))
    assert board.window == 2
    assert [board.take(0.0) for _ in range(3)] == [0, 0, None]
    board.release(0)
    assert board.take(0.0) == 0


def test_a_plan_that_says_in_turn_waits_for_a_full_route_where_others_have_room() -> None:
    board = RouteBoard(plan(route("a", weight=0.5, window=1), route("b", weight=0.5), in_turn=True))
    assert [board.take(0.0), board.take(0.0), board.take(0.0)] == [0, 1, None]
    board.release(0)
    assert [board.take(0.0), board.take(0.0), board.take(0.0)] == [0, 1, None]


def test_nobody_waits_for_the_turn_of_a_route_that_is_down_or_silent() -> None:
    board = RouteBoard(plan(route("a", weight=0.5, window=1), route("b", weight=0.5), in_turn=True))
    board.take(0.0)
    board.silence(0, 0.0, heard=True)
    assert [board.take(0.0), board.take(0.0), board.take(0.0)] == [1, 1, None]
    board = RouteBoard(plan(route("a"), route("b"), in_turn=True))
    board.see({"a": worker("a", online=False)})
    assert [board.take(0.0), board.take(0.0), board.take(0.0)] == [1, 1, None]


def test_whoever_comes_last_waits_for_all_who_are_under_way() -> None:
    """Learned from answers that found the line empty, patience would end while the line is only full."""
    slow = route("a", window=20).model_copy(
        update={"predicted": Prediction(latency_ms=200, throughput_rps=5.0, energy_j=0)}
    )
    board = RouteBoard(plan(slow))
    for _ in range(20):
        board.take(0.0)
    board.sign_of_life(0, 0.2)
    assert board.usual_s(0) == pytest.approx(8.0)
    for _ in range(19):
        board.release(0)
    assert board.usual_s(0) == pytest.approx(0.6)


def test_a_route_with_a_device_offline_or_a_stage_not_ready_is_not_taken() -> None:
    board = RouteBoard(plan(route("a", "b"), route("c")))
    board.see({"a": worker("a", "r0s0"), "b": worker("b", online=False), "c": worker("c", "r1s0")})
    assert board.take(0.0) == 1
    board.see({"a": worker("a", "r0s0"), "b": worker("b", "r0s1"), "c": worker("c", "r1s0", generation=7)})
    assert board.take(0.0) == 0


def test_a_route_already_tried_is_avoided_while_another_has_room() -> None:
    board = RouteBoard(plan(route("a", weight=1.0), route("b", weight=0.1, window=1)))
    assert board.take(0.0, avoid={0}) == 1
    assert board.take(0.0, avoid={0}) == 0


def test_a_silent_route_rests_and_is_then_probed_by_one_request_until_it_answers() -> None:
    board = RouteBoard(plan(route("a"), route("b", window=1)))
    board.silence(0, 10.0, heard=True)
    board.silence(0, 10.0, heard=True)
    assert board.take(10.0) == 1
    assert board.take(10.0) is None
    assert board.next_change(10.0) == [11.0]
    assert [board.take(11.0), board.take(11.0)] == [0, None]
    board.sign_of_life(0, 0.2)
    assert board.take(11.0) == 0


def test_the_only_route_keeps_its_window_though_it_was_silent() -> None:
    board = RouteBoard(plan(route("a", window=2)))
    board.silence(0, 0.0, heard=True)
    assert [board.take(0.0), board.take(0.0), board.take(0.0)] == [0, 0, None]


def test_a_route_nobody_listens_on_rests_even_when_it_is_the_only_one() -> None:
    board = RouteBoard(plan(route("a")))
    board.silence(0, 0.0, heard=False)
    assert board.take(0.0) is None
    assert board.take(board.next_change(0.0)[0]) == 0


def test_a_device_that_comes_back_starts_with_a_clean_sheet() -> None:
    board = RouteBoard(plan(route("a"), route("b")))
    board.silence(0, 0.0, heard=True)
    board.see({"a": worker("a", online=False)})
    board.see({"a": worker("a", "r0s0")})
    assert board.next_change(0.0) == []


def test_predictions_set_the_first_patience() -> None:
    slow = route("a").model_copy(update={"predicted": Prediction(latency_ms=2000, throughput_rps=1, energy_j=1)})
    assert RouteBoard(plan(slow)).usual_s(0) == pytest.approx(6.0)


def test_an_early_answer_does_not_vouch_for_what_lies_behind_it() -> None:
    board = RouteBoard(plan(route("a", "b"), route("c")))
    assert board.take(0.0) == 0
    board.silence(0, 1.0, heard=True)
    board.sign_of_life(0, 0.01, whole=False)
    assert [board.take(1.5) for _ in range(2)] == [1, 1]
    board.sign_of_life(0, 0.01)
    assert board.take(1.5) == 0
