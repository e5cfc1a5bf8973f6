"""A served plan beside the best one, and which of about equal plans is preferred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deployment import Deployment
from schemas.model import Blob, ModelCard
from schemas.plan import Plan
from schemas.stages import HeldStage, StagesHeld
from services.planner.complete import to_plan
from services.planner.cost import Problem, problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.flow import objective
from services.planner.held import BUILD_S, held_blocks, missing_bytes, planned_blocks, switch_s
from services.planner.policies import find_policy
from services.planner.review import NEAR, best_plan, favouring_held, review, still

EXACT = find_policy("exact")
Make = Callable[..., DeviceFacts]
ALL = frozenset(range(4))


@pytest.fixture
def with_blobs(make_card: Callable[..., ModelCard]) -> ModelCard:
    """Four blocks of 1 MB each, and 2 MB that the last two share."""
    card = make_card([1000] * 5, weight_bytes=[1_000_000] * 4)
    blobs = tuple(Blob(sha256=f"{n:064x}", nbytes=1_000_000 if n < 4 else 2_000_000) for n in range(5))
    blocks = tuple(
        block.model_copy(update={"blobs": (n, 4) if n >= 2 else (n,)}) for n, block in enumerate(card.blocks)
    )
    return card.model_copy(update={"blobs": blobs, "blocks": blocks})


def problem(card: ModelCard, devices: list[DeviceFacts], **wanted: Any) -> Problem:
    return problem_from(card, Deployment(deployment="d", model=card.name, **wanted), devices, HubFacts(1e12, 1e12))


def served(made: Problem, generation: int = 1) -> Plan:
    return to_plan(made, EXACT.plan(made), generation=generation, policy="exact")


def test_blobs_that_are_held_or_shared_are_fetched_once_or_not_at_all(with_blobs: ModelCard, make_device: Make) -> None:
    plan = served(problem(with_blobs, [make_device("a", [1.0] * 4)]))
    assert missing_bytes(with_blobs, plan.routes, {}) == {"a": 6_000_000}
    assert missing_bytes(with_blobs, plan.routes, {"a": frozenset({0, 3})}) == {"a": 2_000_000}
    assert missing_bytes(with_blobs, plan.routes, planned_blocks(plan)) == {}


def test_a_switch_takes_as_long_as_its_slowest_link_and_building(make_device: Make) -> None:
    devices = [make_device("a", [1.0], mbps=(1.0, 8.0)), make_device("b", [1.0], mbps=(1.0, 80.0))]
    assert switch_s({}, devices) == BUILD_S
    assert switch_s({"a": 2_000_000, "b": 10_000_000}, devices) == pytest.approx(BUILD_S + 2.0)
    assert switch_s({"a": 2_000_000, "b": 10_000_000}, devices, hub_mbps=24.0) == pytest.approx(BUILD_S + 4.0)


def test_only_what_is_ready_and_of_this_very_model_is_held(with_blobs: ModelCard) -> None:
    sha = with_blobs.sha256

    def stage(first: int, last: int, **more: Any) -> HeldStage:
        said = {"deployment": "d", "generation": 1, "stage": "r0s0", "model": "m", "card_sha": sha, "state": "ready"}
        return HeldStage.model_validate({**said, "first": first, "last": last, **more})

    def worker(name: str, *stages: HeldStage, online: bool = True) -> StagesHeld:
        return StagesHeld(device=name, boot_id="b", online=online, stages=stages)

    held = held_blocks(
        with_blobs,
        sha,
        [
            worker("a", stage(0, 2), stage(3, 99, state="draining")),
            worker("b", stage(0, 2, state="loading"), stage(0, 1, card_sha="f" * 64)),
            worker("c", stage(0, 4), online=False),
        ],
    )
    assert held == {"a": frozenset({0, 1, 3}), "b": frozenset()}


def test_of_equal_devices_the_one_that_holds_the_weights_is_chosen(with_blobs: ModelCard, make_device: Make) -> None:
    made = problem(with_blobs, [make_device(name, [1.0] * 4) for name in "abc"])
    for name in "abc":
        choice = best_plan(made, EXACT, {name: ALL})
        assert choice.routes[0].devices == (name,)
        assert choice.predicted == EXACT.plan(made).predicted


def test_a_device_that_holds_nothing_is_chosen_when_it_is_clearly_better(
    with_blobs: ModelCard, make_device: Make
) -> None:
    made = problem(with_blobs, [make_device("a", [1.0] * 4), make_device("b", [0.9] * 4)])
    assert best_plan(made, EXACT, {"a": ALL}).routes[0].devices == ("b",)


def test_who_holds_more_is_preferred_to_who_holds_less(with_blobs: ModelCard, make_device: Make) -> None:
    made = problem(with_blobs, [make_device(name, [1.0] * 4) for name in "ab"])
    assert best_plan(made, EXACT, {"a": frozenset({0}), "b": frozenset({0, 1, 2})}).routes[0].devices == ("b",)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_preferring_what_is_held_never_costs_more_than_near(data: st.DataObject) -> None:
    from simulations.simulated_fleet import Simulation, Truth

    ms = data.draw(st.lists(st.floats(0.5, 5.0), min_size=1, max_size=3))
    wanted = data.draw(st.sampled_from(["latency", "throughput", "energy"]))
    made = Simulation(
        {f"d{n}": Truth(block_ms=one, mbps=50.0) for n, one in enumerate(ms)},
        Deployment(deployment="d", model="net", objective=wanted),
    )
    given_problem = problem_from(made.card, made.wish, made.facts(), made.hub)
    held = {f"d{n}": data.draw(st.frozensets(st.integers(0, 7))) for n in range(len(ms))}
    best, preferred = EXACT.plan(given_problem), best_plan(given_problem, EXACT, held)
    lost = objective(given_problem, preferred.predicted) - objective(given_problem, best.predicted)
    assert lost <= NEAR * abs(objective(given_problem, best.predicted)) * (1 + 1e-6)
    assert sum(missing_bytes(made.card, preferred.routes, held).values()) >= 0


def test_where_nothing_is_held_nothing_is_favoured(with_blobs: ModelCard, make_device: Make) -> None:
    made = problem(with_blobs, [make_device("a", [1.0] * 4)])
    assert favouring_held(made, {}) is made
    assert favouring_held(made, {"elsewhere": ALL}) is made


def test_the_best_plan_gains_nothing(with_blobs: ModelCard, make_device: Make) -> None:
    made = problem(with_blobs, [make_device("a", [1.0] * 4), make_device("b", [2.0] * 4)])
    plan = served(made)
    found = review(made, EXACT, plan, planned_blocks(plan))
    assert found.gain == pytest.approx(0.0)
    assert (found.moved_bytes, found.switch_s, found.sudden) == (0, BUILD_S, False)


def test_the_gain_is_what_the_best_saves_of_the_present(with_blobs: ModelCard, make_device: Make) -> None:
    plan = served(problem(with_blobs, [make_device("a", [1.0] * 4), make_device("b", [2.0] * 4)]))
    now = problem(with_blobs, [make_device("a", [4.0] * 4), make_device("b", [2.0] * 4, mbps=(8.0, 8.0))])
    found = review(now, EXACT, plan, planned_blocks(plan), exact={"a"})
    assert found.present is not None
    assert found.present.predicted.latency_ms == pytest.approx(16.0)
    assert found.best.routes[0].devices == ("b",)
    assert found.gain == pytest.approx(1 - found.best.predicted.latency_ms / 16.0)
    assert found.moved_bytes == 6_000_000
    assert found.switch_s == pytest.approx(BUILD_S + 6.0)
    assert found.sudden
    assert found.cause.startswith("computing on a takes 16 ms, 4 ms when planned")


def test_throughput_gains_are_of_the_time_per_request(with_blobs: ModelCard, make_device: Make) -> None:
    devices = [make_device("a", [1.0] * 4), make_device("b", [1.0] * 4)]
    alone = problem(with_blobs, devices[:1], objective="throughput")
    both = problem(with_blobs, devices, objective="throughput")
    found = review(both, EXACT, served(alone), {})
    assert found.gain == pytest.approx(0.5)


def test_a_plan_whose_device_is_gone_cannot_go_on(with_blobs: ModelCard, make_device: Make) -> None:
    plan = served(problem(with_blobs, [make_device("a", [1.0] * 4), make_device("b", [2.0] * 4)]))
    found = review(problem(with_blobs, [make_device("b", [2.0] * 4)]), EXACT, plan, {})
    assert found.present is None
    assert (found.gain, found.sudden) == (1.0, True)
    assert found.cause == "a cannot be used any more"


def test_a_served_plan_needs_no_memory_that_it_has_already(with_blobs: ModelCard, make_device: Make) -> None:
    plan = served(problem(with_blobs, [make_device("a", [1.0] * 4)]))
    full = problem(with_blobs, [make_device("a", [1.0] * 4, budget=10)])
    assert not full.feasible.any()
    assert still(full, plan) is not None


def test_a_served_plan_may_be_a_little_beyond_its_latency_bound(with_blobs: ModelCard, make_device: Make) -> None:
    wanted = {"objective": "throughput", "latency_bound_ms": 10.0}
    plan = served(problem(with_blobs, [make_device("a", [2.0] * 4)], **wanted))
    assert still(problem(with_blobs, [make_device("a", [2.6] * 4)], **wanted), plan) is not None
    assert still(problem(with_blobs, [make_device("a", [3.0] * 4)], **wanted), plan) is None


def test_a_plan_of_another_version_of_the_model_cannot_go_on(with_blobs: ModelCard, make_device: Make) -> None:
    made = problem(with_blobs, [make_device("a", [1.0] * 4)])
    assert still(made, served(made).model_copy(update={"card_sha": "f" * 64})) is None
