"""Rows are shared where that is quicker by enough, by whom and so that all are done at about the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from end_to_end.small_line import LAYERS, stack_of_convolutions
from hypothesis import given, settings
from hypothesis import strategies as st

from models.importer import import_model
from models.library import Library
from schemas.deployment import Deployment, Pin
from schemas.model import ModelCard
from schemas.parts import plan_parts
from schemas.plan import Plan
from schemas.plan_text import parse_route
from schemas.stages import HeldStage, StagesHeld
from services.planner.after_a_band import more_ms
from services.planner.band_cost import shared_cost, slowest_ms
from services.planner.band_times import band_times
from services.planner.certainty import ROWS_LEAST, ROWS_LEAST_MS, SPLIT_MARGIN, Cautious, alike_ms
from services.planner.complete import to_plan
from services.planner.cost import Problem, problem_from
from services.planner.evidence import evidence
from services.planner.explain import explain
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.held import missing_bytes, planned_blocks
from services.planner.line_cost import Placement
from services.planner.plan_making import keep_survivors
from services.planner.policies import find_policy
from services.planner.policies.exact import Exact
from services.planner.policy import Choice
from services.planner.review import review, still
from services.planner.rows_known import RowsKnown, rows_of
from services.planner.side_by_side import shared_rows
from stageline.comparison_table import rows_remark
from stageline.policy_comparison import compare

EXACT = Exact()
Make = Callable[..., DeviceFacts]
HEIGHT = 24
BLOCK_MS = 20.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, RowsKnown]:
    """Six convolutions over 24 rows, and what is known of their rows."""
    folder = tmp_path_factory.mktemp("stack")
    onnx.save(stack_of_convolutions(), folder / "stack.onnx")
    library = Library(folder / "library")
    card = import_model(str(folder / "stack.onnx"), library)
    rows = rows_of(card, Path(library.blobs.path(card.graph.sha256)).read_bytes())
    assert rows is not None
    return card, rows


Model = tuple[ModelCard, RowsKnown]


def problem(model: Model, devices: Sequence[DeviceFacts], *, hub: HubFacts | None = None, **wanted: Any) -> Problem:
    card, rows = model
    wish = Deployment(deployment="d", model=card.name, **wanted)
    return problem_from(card, wish, devices, hub or HubFacts(1e12, 1e12), rows=rows)


def fleet(make_device: Make, *speeds: float, **changes: Any) -> list[DeviceFacts]:
    """Devices a, b, c ... of these speeds; at speed 1 the model takes 120 ms."""
    return [
        make_device("abcdefgh"[index], [BLOCK_MS / speed] * LAYERS, **changes) for index, speed in enumerate(speeds)
    ]


def shares(choice: Choice) -> list[tuple[str, int]]:
    """Who gives how many rows."""
    bands = choice.routes[0].side_by_side
    assert bands is not None
    return [(band.device, band.gives[1] - band.gives[0]) for band in bands.bands]


def test_with_quick_links_equal_devices_share_the_rows_and_are_done_far_sooner(model: Model, make_device: Make) -> None:
    made = problem(model, fleet(make_device, 1, 1, 1))
    choice = EXACT.plan(made)
    assert choice.label == "rows side by side"
    assert choice.without is not None
    assert choice.without.predicted.latency_ms == pytest.approx(LAYERS * BLOCK_MS)
    assert choice.predicted.latency_ms < 0.65 * choice.without.predicted.latency_ms
    rows = shares(choice)
    assert {device for device, _ in rows} == {"a", "b", "c"}
    assert sum(count for _, count in rows) == HEIGHT
    (route,) = choice.routes
    assert parse_route(str(route)).side_by_side is not None
    assert len(route.side_by_side.predictions) == 3  # type: ignore[union-attr]
    assert to_plan(made, choice, generation=1, policy="exact").devices == ("a", "b", "c")


def test_shares_follow_speed(model: Model, make_device: Make) -> None:
    rows = dict(shares(EXACT.plan(problem(model, fleet(make_device, 4, 2)))))
    assert rows["a"] > 1.5 * rows["b"]


def test_the_predicted_latency_is_that_of_the_slowest_band_and_the_stages_behind(
    model: Model, make_device: Make
) -> None:
    rtt_ms = 1.0
    made = problem(model, fleet(make_device, 2, 1, rtt_ms=rtt_ms, mbps=(400.0, 800.0), frame_ms=0.5))
    choice = EXACT.plan(made)
    (route,) = choice.routes
    assert route.side_by_side is not None
    # What the device that joins them computes stays there; the others' rows come through the broker.
    arrival_ms = rtt_ms / 2 + route.stage_predictions[0].down_ms
    ends = [
        one.down_ms + one.compute_ms + one.frame_ms + one.up_ms
        + (rtt_ms / 2 if band.device == route.stages[0].device else rtt_ms + arrival_ms)
        for band, one in zip(route.side_by_side.bands, route.side_by_side.predictions, strict=True)
    ]  # fmt: skip
    stages = [rtt_ms + one.down_ms + one.compute_ms + one.frame_ms + one.up_ms for one in route.stage_predictions]
    # The submitter sends one frame more, and one of two bands is a little late.
    expected_ms = 0.5 + slowest_ms(ends) + sum(stages) - arrival_ms
    assert choice.predicted.latency_ms == pytest.approx(expected_ms, rel=1e-6)
    assert max(ends) < slowest_ms(ends) < 1.1 * max(ends)
    # All are done at about the same time: within a row or two of the slower one.
    assert max(ends) - min(ends) < 2 * BLOCK_MS * LAYERS / HEIGHT


@pytest.mark.parametrize(("stays", "coded"), [(False, True), (True, False)])
def test_what_a_device_joins_itself_it_neither_codes_nor_sends(
    model: Model, make_device: Make, stays: bool, coded: bool
) -> None:
    devices = fleet(make_device, 1, 1, mbps=(400.0, 800.0), frame_ms_per_mb=1.0)
    half = {"takes": np.array([14.0]), "gives": np.array([12.0]), "shares": np.full((1, 3), 0.5)}
    raw, packed = (
        band_times(problem(model, devices, codec=codec), 0, 3, stays=stays, **half) for codec in ("fp32", "u8")
    )
    assert bool(packed.compute_ms[0] > raw.compute_ms[0]) is coded
    assert bool(packed.up_ms[0] > 0) is coded


@pytest.mark.parametrize(
    "wanted",
    [
        {"side_by_side": False},
        {"objective": "throughput"},
        {"objective": "energy"},
        {"pins": (Pin(device="a", first=0, last=1),)},
        {"exclude": ("b", "c")},
    ],
    ids=["not wished", "throughput", "energy", "pinned input", "nobody to share with"],
)
def test_rows_are_not_shared_where_that_is_not_asked_for(model: Model, make_device: Make, wanted: Any) -> None:
    choice = EXACT.plan(problem(model, fleet(make_device, 1, 1, 1), **wanted))
    assert all(route.side_by_side is None for route in choice.routes)
    assert choice.without is None


def test_bands_end_before_the_first_pinned_block(model: Model, make_device: Make) -> None:
    made = problem(model, fleet(make_device, 1, 1, 1), pins=(Pin(device="c", first=4, last=6),))
    (route,) = EXACT.plan(made).routes
    assert route.side_by_side is not None
    assert route.side_by_side.last <= 4
    assert route.stages[-1].device == "c"


def test_long_ways_and_unknown_rows_keep_a_model_whole(model: Model, make_device: Make) -> None:
    slow = problem(model, fleet(make_device, 1, 1, 1, rtt_ms=150.0))
    assert EXACT.plan(slow).label == "one device"
    unknown = replace(problem(model, fleet(make_device, 1, 1, 1)), rows=None)
    assert EXACT.plan(unknown).label == "one device"


def test_who_lacks_the_memory_or_the_packet_size_shares_nothing(model: Model, make_device: Make) -> None:
    small = make_device("c", [BLOCK_MS] * LAYERS, budget=1_000_000)
    short = make_device("d", [BLOCK_MS] * LAYERS, max_packet_bytes=4096)
    choice = EXACT.plan(problem(model, [*fleet(make_device, 1, 1), small, short]))
    assert {device for device, _ in shares(choice)} == {"a", "b"}


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(st.floats(0.3, 4.0), st.floats(0.3, 4.0)),
    st.floats(20.0, 2000.0),
    st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 2.0)),
)
def test_what_is_found_is_about_as_good_as_all_there_is(
    model: Model, make_device: Make, speeds: tuple[float, float], mbps: float, overheads: tuple[float, float]
) -> None:
    """Brute force over two devices' bands, every cut, every division, one device behind."""
    rtt_ms, frame_ms = overheads
    made = problem(model, fleet(make_device, *speeds, mbps=(mbps, mbps), rtt_ms=rtt_ms, frame_ms=frame_ms))
    card, rows = model
    least = min(
        shared_cost(
            made, shared_rows(rows.chain(last), last, (0, 1), ((0, row), (row, HEIGHT))), (behind,)
        ).line.latency_ms
        for last in rows.lasts
        for row in range(1, HEIGHT)
        for behind in (Placement(0, last, len(card.blocks)), Placement(1, last, len(card.blocks)))
    )
    assert EXACT.plan(made).predicted.latency_ms <= 1.1 * least


def test_rows_are_shared_only_where_that_wins_by_the_margin(model: Model, make_device: Make) -> None:
    policy = Cautious(EXACT)
    wins = problem(model, fleet(make_device, 1, 1, 1))
    assert policy.plan(wins).label == "rows side by side"
    # A link at which sharing gains something, and less than predictions may be off of what is done differently.
    for mbps in np.geomspace(40.0, 1.0, 25).tolist():
        made = problem(model, fleet(make_device, 1, 1, 1, mbps=(mbps, mbps)))
        found = EXACT.plan(made)
        if found.without is None:
            continue
        same = alike_ms(made, found.routes[0], found.without.routes[0])
        shared, alone = found.predicted.latency_ms - same, found.without.predicted.latency_ms - same
        kept = policy.plan(made)
        assert (kept.without is not None) == (
            shared < (1 - SPLIT_MARGIN) * alone and alone - shared > max(ROWS_LEAST * (alone + same), ROWS_LEAST_MS)
        )
        if kept.without is None:
            assert kept.label == "one device"
            assert "rows side by side on" in kept.notes[-1]
            assert "by 15% of what would be done differently" in explain(made, kept, policy).explanation
            return
    pytest.fail("no link at which sharing rows gains just a little")


def test_what_both_plans_have_the_same_device_do_counts_for_neither(model: Model, make_device: Make) -> None:
    made = problem(model, fleet(make_device, 1, 2))
    shared = parse_route("(a rows 0:9 from 0:12 + b rows 9:24 from 6:24)[0:3) -> b[3:5) -> a[5:6)")
    assert alike_ms(made, shared, parse_route("b[0:6)")) == pytest.approx(2 * BLOCK_MS / 2)
    assert alike_ms(made, shared, parse_route("b[0:2) -> a[2:6)")) == pytest.approx(BLOCK_MS)
    assert alike_ms(made, shared, parse_route("a[0:5) -> b[5:6)")) == 0.0


def test_why_rows_are_shared_is_told_with_both_figures(model: Model, make_device: Make) -> None:
    made, policy = problem(model, fleet(make_device, 1, 1, 1)), Cautious(EXACT)
    choice = policy.plan(made)
    why = explain(made, choice, policy)
    assert choice.without is not None
    assert f"Rows side by side on 3 devices: {choice.predicted.latency_ms:.1f} ms against 120.0 ms" in why.explanation
    assert why.alternatives[1].label == "without rows side by side"
    assert why.alternatives[1].predicted == choice.without.predicted


def test_a_policy_comparison_counts_the_bands(model: Model, make_device: Make) -> None:
    made = problem(model, fleet(make_device, 1, 1, 1))
    (row,) = compare(made, [EXACT])
    assert row.figures is not None
    assert row.figures.moved_bytes > made.wire_bytes[0] + made.wire_bytes[-1]
    assert "rows" in row.as_dict()["plan"]


def test_beside_policies_that_know_no_rows_it_is_said_who_shares_them(model: Model, make_device: Make) -> None:
    rows = compare(problem(model, fleet(make_device, 1, 1, 1)), [EXACT, find_policy("best-single")])
    assert rows_remark(rows).startswith("Several devices share rows of the first blocks in the plans of exact only.")
    assert not rows_remark(rows[:1])
    assert not rows_remark(rows[1:])


def served(made: Problem) -> Plan:
    return to_plan(made, EXACT.plan(made), generation=1, policy="exact")


def test_a_served_plan_with_bands_is_predicted_again_and_kept(model: Model, make_device: Make) -> None:
    made = problem(model, fleet(make_device, 2, 1, 1, mbps=(500.0, 500.0), frame_ms=0.5))
    plan = served(made)
    now = still(made, plan)
    assert now is not None
    assert now.predicted == plan.predicted
    assert now.routes[0].side_by_side == plan.routes[0].side_by_side
    found = review(made, Cautious(EXACT), plan, planned_blocks(plan))
    assert found.gain == pytest.approx(0.0, abs=1e-9)
    assert found.moved_bytes == 0
    assert str(found.best) == str(plan)
    # One whose rows nobody knows any more can still be told about, if not exactly.
    rough = still(replace(made, rows=None), plan)
    assert rough is not None
    assert plan.predicted is not None
    assert plan.predicted.latency_ms <= rough.predicted.latency_ms < 2 * plan.predicted.latency_ms


def test_a_device_that_computes_a_band_is_lost_like_any_other(model: Model, make_device: Make) -> None:
    devices = fleet(make_device, 1, 1, 1)
    plan = served(problem(model, devices))
    assert "c" in plan.devices
    rest = problem(model, devices[:2])
    assert still(rest, plan) is None
    best = EXACT.plan(rest)
    assert keep_survivors(rest, best, plan) is best
    assert review(rest, EXACT, plan, planned_blocks(plan)).cause == "c cannot be used any more"


def test_what_bands_hold_counts_as_held_and_is_fetched(model: Model, make_device: Make) -> None:
    card, _ = model
    plan = served(problem(model, fleet(make_device, 1, 1, 1)))
    shared = plan.routes[0].side_by_side
    assert shared is not None
    assert planned_blocks(plan)["c"] >= frozenset(range(shared.last))
    missing = missing_bytes(card, plan.routes, {})
    assert missing.get("c", 0) == sum(blob.nbytes for blob in card.stage_blobs(0, shared.last))
    assert missing_bytes(card, plan.routes, planned_blocks(plan)) == {}


def test_a_plan_is_ready_only_when_every_band_is(model: Model, make_device: Make) -> None:
    plan = served(problem(model, fleet(make_device, 1, 1, 1)))
    mine = [part for part in plan_parts(plan) if part.device == "a"]
    assert any(part.is_band for part in mine)

    def held(*stages: str) -> StagesHeld:
        return StagesHeld(
            device="a",
            boot_id="b",
            online=True,
            stages=tuple(
                HeldStage(
                    deployment="d", generation=1, stage=part.stage, model=plan.model, card_sha=plan.card_sha,
                    first=part.first, last=part.last, state="ready",
                )
                for part in mine
                if part.stage in stages
            ),
        )  # fmt: skip

    everything = [part.stage for part in mine]
    assert evidence(plan, held(*everything)).ready
    for stage in everything:
        assert not evidence(plan, held(*(one for one in everything if one != stage))).ready


def test_a_quota_that_a_band_has_used_up_is_missing_for_the_stage_behind(make_device: Make) -> None:
    plain = make_device("a", [BLOCK_MS] * LAYERS, cores=0.5)
    limited = replace(plain, info=plain.info.model_copy(update={"quota_period_ms": 100.0}))
    alone = np.array([[40.0]])
    assert more_ms(plain, alone, 80.0).max() == 0.0
    assert more_ms(limited, alone, 0.0).max() == 0.0
    # Of the quota's 50 ms a band has used 40: the stage's 20 ms do not fit any more.
    assert more_ms(limited, alone, 80.0).max() > 5.0
