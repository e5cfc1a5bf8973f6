"""A split for latency is chosen only where it wins by more than predictions are off."""

import pytest

from services.planner.certainty import SPLIT_MARGIN, Cautious, prefer_whole
from services.planner.explain import explain
from services.planner.policies.best_single import BestSingle
from services.planner.policies.exact import Exact

# Each device is quick at one half: split, a request takes `2 * quick`, on one device `quick + slow`.
QUICK = 10.0


def two(make_device, slow: float, **changes):
    return [make_device("a", [QUICK, slow], **changes), make_device("b", [slow, QUICK], **changes)]


@pytest.mark.parametrize("wins", [False, True])
def test_a_split_must_win_by_the_margin(make_problem, make_device, wins: bool) -> None:
    slow = 2 * QUICK / (1 - SPLIT_MARGIN) - QUICK + (0.5 if wins else -0.5)
    problem = make_problem(two(make_device, slow), [8] * 3, objective="latency")
    best = Exact().plan(problem)
    assert best.label == "pipeline"
    kept = prefer_whole(problem, best)
    assert (kept is best) == wins
    if not wins:
        assert kept.routes == BestSingle().plan(problem).routes
        assert "a split would save" in kept.notes[-1]


def test_no_constraint_is_blamed_for_a_split_that_the_margin_turned_down(make_problem, make_device) -> None:
    # Without memory limits c could serve too; the plan would be the same.
    slow = 2 * QUICK / (1 - SPLIT_MARGIN) - QUICK - 0.5
    devices = [*two(make_device, slow), make_device("c", [9 * QUICK] * 2, budget=1)]
    problem, policy = make_problem(devices, [8] * 3, objective="latency", weight_bytes=[5, 5]), Cautious(Exact())
    why = explain(problem, policy.plan(problem), policy)
    assert why.decided_by == "compute"
    assert "Note: a split would save" in why.explanation
    assert "too small a gain to rely on" in why.explanation
    assert "though" not in why.explanation


def test_what_fits_no_single_device_is_split_all_the_same(make_problem, make_device) -> None:
    problem = make_problem(two(make_device, QUICK, budget=1), [8] * 3, objective="latency", weight_bytes=[1, 1])
    best = Exact().plan(problem)
    assert prefer_whole(problem, best) is best
    assert best.label == "pipeline"


def test_throughput_and_whole_models_are_left_alone(make_problem, make_device) -> None:
    for objective in ("throughput", "energy"):
        problem = make_problem(two(make_device, QUICK + 0.1), [8] * 3, objective=objective)
        best = Exact().plan(problem)
        assert prefer_whole(problem, best) is best
    problem = make_problem([make_device("a", [1, 1])], [8] * 3, objective="latency")
    best = Exact().plan(problem)
    assert prefer_whole(problem, best) is best
