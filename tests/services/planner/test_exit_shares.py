"""Shares of requests that leave at exits follow what workers report, and begin with what was calibrated."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model import Blob, Block, Cut, Exit, ModelCard, OperatingPoint, TensorSpec
from schemas.plan import ExitRule, Plan, Route, Stage
from schemas.stages import ExitSeen
from services.planner.exit_shares import NO_SHARES, ExitShares

THRESHOLDS = {"exit1": 0.8, "exit2": 0.9}


def multi_exit_card() -> ModelCard:
    out = TensorSpec(name="y", dtype="float32", shape=(1, 10))
    cut = Cut(tensors=(TensorSpec(name="x", dtype="float32", shape=(1, 64)),))
    return ModelCard(
        name="net", source="made up", graph=Blob(sha256="0" * 64, nbytes=1), blobs=(),
        blocks=tuple(
            Block(
                label=f"b{n}", first_node=n, last_node=n + 1, macs=1000, weight_bytes=0, peak_activation_bytes=0,
                layer_cost=1,
            )
            for n in range(6)
        ),
        cuts=(cut,) * 6 + (Cut(tensors=(out,)),), inputs=cut.tensors, outputs=(out,),
        exits=tuple(
            Exit(name=name, block=block, output=out.model_copy(update={"name": name}), threshold=THRESHOLDS[name])
            for name, block in (("exit1", 1), ("exit2", 3))
        ),
        operating_points=(OperatingPoint(thresholds=(0.8, 0.9), shares=(0.4, 0.3), accuracy=0.9),),
    )  # fmt: skip


CARD = multi_exit_card()
PLAN = Plan(
    deployment="d", generation=1, model="net", card_sha=CARD.sha256, objective="latency", policy="exact",
    routes=(Route(stages=(Stage(device="a", first=0, last=6),)),),
    exits=(
        ExitRule(name="exit1", block=1, threshold=0.8, share=0.4),
        ExitRule(name="exit2", block=3, threshold=0.9, share=0.3),
    ),
)  # fmt: skip


def seen(met: int, left: int, name: str = "exit1") -> ExitSeen:
    return ExitSeen(name=name, met=met, left=left)


def shares_of(known: ExitShares) -> list[float]:
    return [rule.share for rule in known.now(CARD, PLAN)]


def test_before_anything_is_seen_shares_are_the_calibrated_ones() -> None:
    assert shares_of(NO_SHARES) == pytest.approx([0.4, 0.3])


def test_what_is_seen_takes_the_place_of_what_was_calibrated() -> None:
    known = NO_SHARES.observe(PLAN, [seen(30, 27), seen(3, 3, "exit2")])
    first, second = shares_of(known)
    assert 0.55 < first < 0.75  # half of what is believed was seen
    for _ in range(40):
        known = known.observe(PLAN, [seen(30, 27), seen(3, 3, "exit2")])
    first, second = shares_of(known)
    assert first == pytest.approx(0.9, abs=0.02)
    assert first + second > 0.9  # 120 were seen to meet exit2


def test_a_stage_sees_only_those_that_came_so_far() -> None:
    """exit2 is on another device: half of what it is given leaves there."""
    known = NO_SHARES
    for _ in range(40):
        known = known.observe(PLAN, [seen(50, 30)]).observe(PLAN, [seen(20, 10, "exit2")])
    assert shares_of(known) == pytest.approx([0.6, 0.2], abs=0.03)


def test_another_mix_of_inputs_is_followed_within_two_hundred_requests() -> None:
    draw = random.Random(1)
    known = NO_SHARES
    for _ in range(50):
        known = known.observe(PLAN, [seen(20, sum(draw.random() < 0.9 for _ in range(20)))])
    assert shares_of(known)[0] == pytest.approx(0.9, abs=0.05)
    for _ in range(10):
        known = known.observe(PLAN, [seen(20, sum(draw.random() < 0.1 for _ in range(20)))])
    assert shares_of(known)[0] == pytest.approx(0.1, abs=0.1)


def test_what_is_seen_at_one_threshold_says_that_inputs_are_easier_or_harder_at_all() -> None:
    points = (
        OperatingPoint(thresholds=(0.7, 0.9), shares=(0.6, 0.2), accuracy=0.85),
        OperatingPoint(thresholds=(0.8, 0.9), shares=(0.4, 0.3), accuracy=0.9),
    )
    card = CARD.model_copy(update={"operating_points": points})
    easier = harder = NO_SHARES
    for _ in range(20):
        easier = easier.observe(PLAN, [seen(50, 40)])
        harder = harder.observe(PLAN, [seen(50, 5)])

    def at_lower(known: ExitShares) -> float:
        return known.rules("d", card, {"exit1": 0.7, "exit2": 0.9}, CARD.sha256)[0].share

    assert at_lower(NO_SHARES) == pytest.approx(0.6)
    assert 0.85 < at_lower(easier) < 0.95  # odds 6 times as high as validation data says
    assert 0.15 < at_lower(harder) < 0.25


def test_each_deployment_of_a_model_has_its_own_mix_of_inputs() -> None:
    easy = PLAN
    for threshold in (0.8, 0.7):
        rule = PLAN.exits[0].model_copy(update={"threshold": threshold})
        hard = PLAN.model_copy(update={"deployment": "e", "exits": (rule, PLAN.exits[1])})
        known = NO_SHARES
        for _ in range(40):
            known = known.observe(easy, [seen(50, 45)])
            assert known.observe(hard, [seen(50, 5)]).now(CARD, easy) == known.now(CARD, easy)
            known = known.observe(hard, [seen(50, 5)])
        assert known.now(CARD, easy)[0].share == pytest.approx(0.9, abs=0.02)
        assert known.now(CARD, hard)[0].share == pytest.approx(0.1, abs=0.02)
        assert known.without("e").now(CARD, easy) == known.now(CARD, easy)
        assert known.without("e").now(CARD, hard) == NO_SHARES.now(CARD, hard)


def test_without_measurements_what_was_seen_is_believed_at_other_thresholds_too() -> None:
    card = CARD.model_copy(update={"operating_points": ()})

    def at(threshold: float, known: ExitShares) -> float:
        return known.rules("d", card, {"exit1": threshold}, CARD.sha256)[0].share

    known = NO_SHARES
    for _ in range(20):
        known = known.observe(PLAN, [seen(50, 45)])
    assert at(0.8, known) == at(0.81, known) == pytest.approx(0.9, abs=0.03)
    assert at(0.0, known) == 1.0
    # What was seen of a threshold itself is better still.
    low = PLAN.model_copy(update={"exits": (PLAN.exits[0].model_copy(update={"threshold": 0.5}),)})
    for _ in range(20):
        known = known.observe(low, [seen(50, 49)])
    assert at(0.8, known) == pytest.approx(0.9, abs=0.03)
    assert at(0.6, known) == pytest.approx(0.98, abs=0.03)


def test_believing_a_lot_does_not_mean_believing_for_ever() -> None:
    known = NO_SHARES.observe(PLAN, [seen(2**53, 0)])
    assert known.seen["d", PLAN.card_sha, "exit1", 0.8].met <= 10_000


def test_a_worker_that_says_what_cannot_be_is_not_believed() -> None:
    assert NO_SHARES.observe(PLAN, [seen(0, 0), seen(3, 7, "exit2"), seen(9, 9, "exit7")]) == NO_SHARES


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from(["exit1", "exit2"])), max_size=30))
def test_shares_are_shares_whatever_is_reported(reports) -> None:
    known = NO_SHARES
    for met, left, name in reports:
        known = known.observe(PLAN, [seen(met, left, name)])
    shares = shares_of(known)
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) <= 1 + 1e-9


def served_with(*shares: float) -> Plan:
    rules = tuple(rule.model_copy(update={"share": share}) for rule, share in zip(PLAN.exits, shares, strict=True))
    return PLAN.model_copy(update={"exits": rules})


def test_what_a_planner_before_expected_counts_as_much_as_validation_data_until_requests_are_seen() -> None:
    known = NO_SHARES.adopted(served_with(0.8, 0.1))
    assert shares_of(known) == pytest.approx([0.6, 0.2])  # half way between 0.4 and 0.8, and 0.7 and 0.9 by the second
    for _ in range(40):
        known = known.observe(PLAN, [seen(100, 20)])
    assert shares_of(known)[0] == pytest.approx(0.2, abs=0.03)


def test_what_was_seen_counts_before_what_a_served_plan_says() -> None:
    known = NO_SHARES.observe(PLAN, [seen(1000, 900), seen(100, 50, "exit2")])
    assert known.adopted(served_with(0.1, 0.1)) == known


def test_a_plan_of_another_card_or_deployment_or_threshold_says_nothing_of_this_one() -> None:
    served = served_with(0.9, 0.05)
    other_rules = tuple(rule.model_copy(update={"threshold": 0.5}) for rule in served.exits)
    for update in ({"card_sha": "f" * 64}, {"deployment": "other"}):
        assert shares_of(NO_SHARES.adopted(served.model_copy(update=update))) == pytest.approx([0.4, 0.3])
    there = NO_SHARES.adopted(served.model_copy(update={"exits": other_rules}))
    assert all(0 <= share <= 1 for share in shares_of(there))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_shares_of_a_served_plan_never_add_up_to_more_than_all(shares: list[float]) -> None:
    now = shares_of(NO_SHARES.adopted(served_with(*shares)))
    assert all(0 <= share <= 1 for share in now)
    assert sum(now) <= 1 + 1e-9
