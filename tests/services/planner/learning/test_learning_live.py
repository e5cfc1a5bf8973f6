"""Policy bandit on a real broker: what submitters see decides, what was learned is told, and is continued from."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from schemas.accuracy import RouteSeen, Seen
from schemas.plan import Plan
from schemas.topics import DEPLOYMENT, PLAN_CURRENT, PLAN_DECISION, PLAN_LEARNING, SEEN
from services.lifecycle import OperatorError
from services.planner.learning import course, live
from services.planner.learning.actor import Actor
from services.planner.learning.arms import ARMS_MOST
from services.planner.learning.observation import FEATURES, OBSERVED
from services.planner.learning.policy_file import Member, PolicyHeader, save_policy
from services.planner.learning.ucb import Ucb

if TYPE_CHECKING:
    from tests.services.planner.house import House


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_S", 0.05)


@contextlib.asynccontextmanager
async def submitting(house: House, latency_ms: Mapping[str, float], *, period_s: float = 0.05) -> AsyncIterator[None]:
    """Somebody who sees of each plan what its devices take, and says so; of devices that are not named nothing."""

    async def keep() -> None:
        while True:
            plan: Plan | None = house.now.get((PLAN_CURRENT.template, "cats"))
            if plan is not None and latency_ms.keys() >= set(plan.devices):
                took = sum(latency_ms[name] for name in plan.devices)
                route = RouteSeen(route=0, answers=10, latency_ms=took, waiting=1)
                seen = Seen(
                    submitter="laptop", deployment="cats", generation=plan.generation, period_s=period_s,
                    routes=(route,),
                )  # fmt: skip
                await house.bus.publish(SEEN, seen, deployment="cats", submitter="laptop")
            await asyncio.sleep(period_s)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_link_that_is_slower_than_it_says_is_learned_around_told_and_remembered(house: House) -> None:
    house.import_model()
    await house.watch(PLAN_LEARNING)
    await house.device("fast")
    await house.device("slow", block_ms=1.6)
    async with submitting(house, {"fast": 40.0, "slow": 9.0}):
        async with house.planner(learn_period_s=0.2):
            await house.want(policy="bandit")
            plan = await house.serving()
            assert (plan.devices, plan.policy) == (("fast",), "bandit")
            first = await house.until(PLAN_LEARNING, "cats", lambda told: told.decisions >= 1)
            assert (first.state, first.by, first.policy) == ("shadow", "exact", "bandit")
            acting = await house.until(
                PLAN_LEARNING, "cats", lambda told: told.state == "acting" and told.by == "learned"
            )
            assert acting.serving == "r0: slow[0:4)"
            assert acting.gain > 0.5
            assert "trying another plan for a while" in (await house.decision("serving")).cause
        generation = house.now[PLAN_CURRENT.template, "cats"].generation
        async with house.planner(learn_period_s=0.2):
            again = await house.until(PLAN_LEARNING, "cats", lambda told: told.decisions > acting.decisions + 1)
            assert (again.generation, again.serving) == (generation, "r0: slow[0:4)")
            await house.bus.clear(DEPLOYMENT, deployment="cats")
            await house.cleared(PLAN_LEARNING, "cats")


async def test_a_trial_that_nobody_asks_anything_of_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "TRIAL_S", 0.3)
    monkeypatch.setattr(course, "TRIAL_PERIODS", 1)
    house.import_model()
    await house.watch(PLAN_LEARNING)
    await house.device("fast")
    await house.device("slow", block_ms=1.6)
    async with submitting(house, {"fast": 40.0}), house.planner(learn_period_s=0.2):
        await house.want(policy="bandit")
        tried = await house.until(PLAN_LEARNING, "cats", lambda told: told.by == "exploring")
        assert "slow" in tried.serving
        back = await house.until(
            PLAN_LEARNING, "cats", lambda told: told.serving == "r0: fast[0:4)" and told.explored > tried.explored
        )
        assert (back.by, back.state) == ("exact", "shadow")
        causes = [told.cause for told in house.history(PLAN_DECISION) if told is not None]
        assert any("after a trial" in cause for cause in causes)  # the next trial may have begun


async def test_a_policy_that_fails_is_idle_and_says_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ArithmeticError("no such number")

    monkeypatch.setattr(Ucb, "propose", failing)
    house.import_model()
    await house.watch(PLAN_LEARNING)
    await house.device("fast")
    await house.device("slow", block_ms=1.6)
    async with submitting(house, {"fast": 5.0, "slow": 9.0}), house.planner(learn_period_s=0.2):
        await house.want(policy="bandit")
        idle = await house.until(PLAN_LEARNING, "cats", lambda told: told.state == "idle")
        assert (idle.by, idle.reason) == ("exact", "deciding failed: no such number")


async def test_a_trained_policy_that_is_not_there_or_of_no_use_is_refused_with_what_to_do(house: House) -> None:
    house.import_model()
    await house.device("fast")
    async with house.planner():
        await house.want(policy="ppo")
        assert "stageline learn train" in (await house.decision("failed")).error
        await house.want(policy="bandit", objective="energy")
        await house.until(PLAN_DECISION, "cats", lambda told: "not energy" in told.error)
        await house.want(policy="bandit")
        assert (await house.serving()).devices == ("fast",)


async def test_a_trained_policy_learns_on_its_fleet_and_is_idle_on_another(house: House, tmp_path: Path) -> None:
    card = house.import_model()
    await house.watch(PLAN_LEARNING)
    await house.device("fast")
    await house.device("slow", block_ms=1.6)
    draw = np.random.default_rng(1)
    shapes = [(8, OBSERVED), (ARMS_MOST, 8)]
    actor = Actor(tuple((draw.standard_normal(one).astype(np.float32), np.zeros(one[0], np.float32)) for one in shapes))
    header = PolicyHeader(
        model="net", card_sha=card.sha256, objective="latency", features=FEATURES, plans=ARMS_MOST, seed=1, steps=0,
        trained_s=0.0, software="by hand",
        fleet=tuple(Member(device=name, cores=1.0, whole_ms=ms) for name, ms in (("fast", 4.0), ("slow", 6.4))),
    )  # fmt: skip
    save_policy(tmp_path / "policy.npz", header, actor)
    took = {"fast": 5.0, "slow": 9.0, "third": 9.0}
    async with submitting(house, took), house.planner(learn_period_s=0.2, learned=tmp_path / "policy.npz"):
        await house.want(policy="ppo")
        assert (await house.serving()).policy == "ppo"
        told = await house.until(PLAN_LEARNING, "cats", lambda told: told.decisions >= 2)
        assert (told.policy, told.reason) == ("ppo", "")
        await house.device("third", block_ms=9.0)
        idle = await house.until(PLAN_LEARNING, "cats", lambda told: told.state == "idle")
        assert "trained on fast, slow, and there are fast, slow, third" in idle.reason


async def test_a_planner_that_is_given_no_policy_for_one_says_so(house: House, tmp_path: Path) -> None:
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"junk")
    with pytest.raises(OperatorError, match="STAGELINE_LEARNED"):
        async with house.planner(learned=junk) as task:
            await task
