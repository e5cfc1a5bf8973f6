"""A policy that is trained: it decides in numpy as it did in torch, gets better, and goes on where another ended."""

from __future__ import annotations

import builtins
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.learning.scene import fleet_world, some_slow_links
from services.planner.errors import PlanningError
from services.planner.learning.arms import ARMS_MOST
from services.planner.learning.learner import Learner
from services.planner.learning.observation import FEATURES, OBSERVED, observation
from services.planner.learning.playing import played
from services.planner.learning.policy_file import PolicyHeader, TrainedPolicy
from services.planner.learning.policy_fits import members
from services.planner.learning.proposers import NoTrainedPolicyError, Proposers
from services.planner.learning.training import HIDDEN, NoTrainingError, Training, actor_of, train
from services.planner.policies.ppo import Ppo

WORLD = fleet_world(1)


@pytest.fixture(scope="module")
def small() -> Training:
    return train([WORLD], steps=500, seed=3)


def test_numpy_scores_plans_as_torch_does(small: Training) -> None:
    import torch

    for seed in range(5):
        seen = np.random.default_rng(seed).uniform(-2, 2, OBSERVED)
        action, _ = small.model.predict(seen.astype(np.float32), deterministic=True)
        with torch.no_grad():
            tensor = torch.from_numpy(seen.astype(np.float32)[None])
            logits = small.model.policy.get_distribution(tensor).distribution.logits[0].numpy()
        scores = small.actor.scores(seen)
        np.testing.assert_allclose(scores - scores.max(), logits - logits.max(), atol=1e-4)
        assert int(action) == int(scores.argmax())


def test_the_same_seed_trains_the_same_actor_and_leaves_nothing_in_the_temporary_directory(
    small: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    again = train([WORLD], steps=500, seed=3)
    assert not list(tmp_path.iterdir())
    for (weights, _), (others, _) in zip(small.actor.layers, again.actor.layers, strict=True):
        np.testing.assert_array_equal(weights, others)
    assert small.steps == 500
    assert small.curve[-1][0] == 500
    assert [weights.shape[0] for weights, _ in small.actor.layers] == [*HIDDEN, ARMS_MOST]


def test_training_goes_on_from_another_actor(small: Training) -> None:
    told: list[tuple[int, float]] = []
    more = train(
        [fleet_world(2)], steps=250, seed=4, start=small.actor, progress=lambda at, regret: told.append((at, regret))
    )
    assert told
    assert not np.array_equal(more.actor.layers[0][0], small.actor.layers[0][0])
    # A few steps do not lead far from where it began.
    assert np.abs(more.actor.layers[0][0] - small.actor.layers[0][0]).max() < 0.2
    assert np.array_equal(actor_of(more.model).layers[0][0], more.actor.layers[0][0])


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "stable_baselines3":
            raise ImportError("not there", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoTrainingError, match=r"needs stable_baselines3: install .* 'stageline\[learn\]"):
        train([WORLD], steps=250)


def test_whatever_a_trained_policy_proposes_the_safety_net_holds(small: Training) -> None:
    run = played(WORLD, small.actor, decisions=150, seed=1)
    assert {step.by for step in run.steps} <= {"exact", "exploring"}
    limits = run.learner.budget.limits
    extra = [step.cost / step.exact - 1 for step in run.steps if step.by == "exploring"]
    assert sum(extra) <= limits.cost_share * 150 + limits.cost_free + max(extra, default=0.0)


def test_who_proposes_the_worst_first_loses_no_more_than_the_budget() -> None:
    class Contrary:
        """Proposes all there is, the dearest first."""

        def propose(self, _learner: Any, arms: Any, incumbent: Any) -> Any:
            return sorted((arm for arm in arms if arm is not incumbent), key=lambda arm: -arm.cost)

    for seed, world in enumerate(some_slow_links(3)):
        run = played(world, Contrary(), decisions=400, seed=seed)
        limits = run.learner.budget.limits
        lost = sum(step.cost / step.exact - 1 for step in run.steps)
        assert lost <= limits.cost_share * 400 + limits.cost_free + max(step.cost / step.exact for step in run.steps)
        assert all(step.cost < 1.02 * step.exact for step in run.steps if step.by == "learned")


def test_an_observation_is_bounded_and_says_nothing_of_plans_that_are_not_there() -> None:
    arms = fleet_world(1, devices=1).arms()
    seen = observation(Learner(), arms, arms[0])
    assert seen.shape == (OBSERVED,)
    assert np.abs(seen).max() <= 2
    assert not seen[OBSERVED // ARMS_MOST :].any()


def test_ppo_plans_as_exact_until_it_may_act_and_by_its_actor_on_paper(small: Training) -> None:
    arms = WORLD.arms()
    assert str(Ppo().plan(WORLD.believed)) == arms[0].name
    assert str(Ppo(small.actor).plan(WORLD.believed)) in {arm.name for arm in arms}


def test_a_trained_policy_is_asked_only_where_it_is_for(small: Training) -> None:
    wish = WORLD.wish.model_copy(update={"policy": "ppo"})
    with pytest.raises(NoTrainedPolicyError, match="stageline learn train"):
        Proposers().proposer(wish, WORLD.card, WORLD.facts)
    header = PolicyHeader(
        model=WORLD.card.name, card_sha=WORLD.card.sha256, objective="latency", fleet=members(WORLD.facts),
        features=FEATURES, plans=ARMS_MOST, seed=3, steps=500, trained_s=1.0, software="here",
    )  # fmt: skip
    known = TrainedPolicy(header, small.actor, "0" * 64)
    assert Proposers(known).proposer(wish, WORLD.card, WORLD.facts) is small.actor
    with pytest.raises(PlanningError, match="another fleet"):
        Proposers(known).check(wish, WORLD.card, WORLD.facts[:2])
    assert Proposers(known, transfer=True).proposer(wish, WORLD.card, WORLD.facts[:2]) is small.actor
    Proposers().check(wish.model_copy(update={"policy": "exact", "objective": "energy"}), WORLD.card, WORLD.facts)
