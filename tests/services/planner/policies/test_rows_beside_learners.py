"""Exact's plan is the same one beside a learner: with rows side by side where they win, and learned of like others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from end_to_end.small_line import LAYERS, stack_of_convolutions

from models.importer import import_model
from models.library import Library
from schemas.deployment import Deployment
from schemas.plan import Plan
from services.planner.careful import careful
from services.planner.cost import problem_from
from services.planner.events import Decide
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.ground import Ground
from services.planner.learning.arms import arms_of
from services.planner.learning.gathering import gathered
from services.planner.plan_making import make_plan
from services.planner.rows_known import rows_of
from services.planner.side_by_side import shares_rows

HUB = HubFacts(1e12, 1e12)
LEARNERS = ("bandit", "ppo")


@pytest.fixture
def ground(tmp_path: Path, make_device: Callable[..., DeviceFacts]) -> Ground:
    """Three equal devices, and six convolutions whose rows may be shared."""
    onnx.save(stack_of_convolutions(), tmp_path / "stack.onnx")
    library = Library(tmp_path / "library")
    card = import_model(str(tmp_path / "stack.onnx"), library)
    rows = rows_of(card, Path(library.blobs.path(card.graph.sha256)).read_bytes())
    return Ground(card, tuple(make_device(name, [20.0] * LAYERS) for name in "abc"), {}, rows=rows)


def wish(ground: Ground, policy: str, *, side_by_side: bool = True) -> Deployment:
    return Deployment(deployment="d", model=ground.card.name, policy=policy, side_by_side=side_by_side)


def first_plan(ground: Ground, policy: str) -> Plan:
    plan, _ = make_plan(Decide(0, wish(ground, policy), {}), ground, HUB)
    return plan


@pytest.mark.parametrize("policy", LEARNERS)
def test_the_first_plan_of_a_learner_is_exacts_with_rows_side_by_side(ground: Ground, policy: str) -> None:
    exact = first_plan(ground, "exact")
    assert exact.routes[0].side_by_side is not None
    assert str(first_plan(ground, policy)) == str(exact)
    assert shares_rows(wish(ground, policy))
    assert not shares_rows(wish(ground, policy, side_by_side=False))


@pytest.mark.parametrize("policy", LEARNERS)
def test_rows_are_shared_by_the_plan_that_others_are_compared_with_and_one_of_them_shares_none(
    ground: Ground, policy: str
) -> None:
    serving = first_plan(ground, policy)
    for baseline in (None, serving):
        _, arms = gathered(wish(ground, policy), ground, HUB, serving=serving, baseline=baseline)
        assert arms[0].name == str(serving)
        assert arms[0].choice.without is not None
        assert str(arms[0].choice.without) in {arm.name for arm in arms[1:]}
        for arm in arms:
            assert sum(arm.terms.values()) == pytest.approx(arm.cost)


def test_rows_that_win_too_little_for_exact_may_be_tried(ground: Ground) -> None:
    problem = problem_from(ground.card, wish(ground, "bandit"), ground.facts, HUB, rows=ground.rows)
    plain = careful("bandit").plan(problem).without
    assert plain is not None
    shared = [arm.choice.routes[0].side_by_side for arm in arms_of(problem, plain)]
    assert shared[0] is None
    assert any(shared)
