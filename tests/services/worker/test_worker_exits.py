"""A stage with open exits answers who is confident enough itself; what lies behind it never hears of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from made_up_plans import made_up_plan

from bench.exits.network import EASY, HARD, MIDDLING, pictures
from models.library import Library
from models.runtime import load_stage
from schemas.codec import Array
from schemas.model import ModelCard
from schemas.plan import ExitRule, Plan
from schemas.stages import Timing
from schemas.topics import DEVICE_TIMING
from services.worker.assignments import Slice, assignments
from services.worker.plan_check import PlanMismatchError, check_against

THRESHOLDS = {"exit1": 0.8, "exit2": 0.8}


def opened(plan: Plan, card: ModelCard, thresholds: Mapping[str, float]) -> Plan:
    """The plan with these exits open."""
    rules = tuple(
        ExitRule(name=one.name, block=one.block, threshold=thresholds[one.name])
        for one in card.exits
        if one.name in thresholds
    )
    return plan.model_copy(update={"exits": rules})


def two_stages(lab: Any, generation: int = 1, **thresholds: float) -> Plan:
    """The first exit on one device, the second and the end on another."""
    card = lab.hub.library.card("bright")
    border = card.exits[0].block + 1
    plan: Plan = lab.plan(f"pi4[0:{border}) -> nano[{border}:)", generation, model="bright")
    return opened(plan, card, {**THRESHOLDS, **thresholds})


def picture(kind: tuple[float, float]) -> Array:
    (made,) = pictures(kind, 1, size=16)
    return made


class Counts:
    """What workers have reported so far, by device."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.reports: Counter[str] = Counter()
        self._news = asyncio.Condition()

    async def listen(self, lab: Any, subscribed: asyncio.Event) -> None:
        async with lab.hub.bus.subscribe(DEVICE_TIMING) as timings:
            subscribed.set()
            async for delivery in timings:
                async with self._news:
                    self._add(delivery.message)
                    self._news.notify_all()

    def _add(self, timing: Timing) -> None:
        self.reports[timing.device] += 1
        for stage in timing.stages:
            self.frames[timing.device] += stage.frames
            for one in stage.exits:
                self.met[one.name] += one.met
                self.left[one.name] += one.left

    async def until(self, **frames: int) -> None:
        """Until each of these devices has told of so many frames, and has reported twice more."""
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: all(self.frames[name] >= many for name, many in frames.items()))
            told = dict(self.reports)
            await self._news.wait_for(lambda: all(self.reports[name] >= told[name] + 2 for name in frames))


async def test_who_leaves_early_is_answered_by_the_stage_and_nothing_is_sent_on(lab: Any) -> None:
    for device in ("pi4", "nano"):
        lab.start(device, timing_period_s="0.1")
    plan = two_stages(lab)
    await lab.hub.roll_out(plan)
    counts, subscribed = Counts(), asyncio.Event()
    listening = asyncio.create_task(counts.listen(lab, subscribed))
    await subscribed.wait()
    card = lab.hub.library.card("bright")
    whole = load_stage(card, lab.hub.library.blobs, 0, len(card.blocks), exits=list(THRESHOLDS))
    try:
        for kind, left, devices in ((EASY, "exit1", 1), (MIDDLING, "exit2", 2), (HARD, "", 2), (EASY, "exit1", 1)):
            answer = await lab.submitter.ask(plan, picture(kind), name="image")
            assert (answer.header.kind, answer.header.exit) == ("answer", left)
            assert len(answer.header.trace) == devices
            block = {one.name: one.block for one in card.exits}.get(left)
            assert answer.header.trace[-1].last == (len(card.blocks) if block is None else block + 1)
            expected = whole.run_until({"image": picture(kind)}, THRESHOLDS)
            assert (expected.exit or "") == left
            np.testing.assert_allclose(answer.arrays()["logits"], expected.outputs["logits"], rtol=1e-4, atol=1e-5)
        await counts.until(pi4=4, nano=2)
    finally:
        whole.close()
        listening.cancel()
        await asyncio.wait([listening])
    assert counts.frames == {"pi4": 4, "nano": 2}
    assert (counts.met, counts.left) == ({"exit1": 4, "exit2": 2}, {"exit1": 2, "exit2": 1})


async def test_other_thresholds_take_effect_with_the_next_plan_and_nothing_is_fetched_for_it(lab: Any) -> None:
    for device in ("pi4", "nano"):
        lab.start(device)
    strict = two_stages(lab, exit1=0.99)
    await lab.hub.roll_out(strict)
    easy = picture(MIDDLING)
    assert (await lab.submitter.ask(strict, easy, name="image")).header.exit == "exit2"
    asked = sum(lab.hub.requested.values())
    loose = two_stages(lab, 2, exit1=0.5)
    await lab.hub.roll_out(loose)
    assert (await lab.submitter.ask(loose, easy, name="image")).header.exit == "exit1"
    closed = opened(two_stages(lab, 3), lab.hub.library.card("bright"), {"exit2": 0.8})
    await lab.hub.roll_out(closed)
    assert (await lab.submitter.ask(closed, easy, name="image")).header.exit == "exit2"
    assert sum(lab.hub.requested.values()) == asked


def test_a_plan_that_opens_an_exit_which_is_not_there_is_refused_with_those_that_are(worker_library: Library) -> None:
    card = worker_library.card("bright")
    first = card.exits[0]
    plan = made_up_plan(
        f"pi4[0:{len(card.blocks)})",
        deployment="d",
        model="bright",
        card_sha=card.sha256,
        exits=(ExitRule(name="exit1", block=first.block, threshold=0.5),),
    )
    (one,) = assignments(plan, "pi4")
    check_against(card, one)
    wrong = plan.model_copy(update={"exits": (ExitRule(name="exit1", block=first.block + 1, threshold=0.5),)})
    (one,) = assignments(wrong, "pi4")
    with pytest.raises(PlanMismatchError, match=f"whose exits are: exit1 after block {first.block}, exit2"):
        check_against(card, one)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_a_stage_is_built_with_its_open_exits_and_not_with_their_thresholds(threshold: float) -> None:
    rules = (
        ExitRule(name="exit1", block=1, threshold=threshold), ExitRule(name="exit2", block=4, threshold=threshold),
    )  # fmt: skip
    plan = made_up_plan("pi4[0:2) -> nano[2:6)", exits=rules)
    (first,), (second,) = assignments(plan, "pi4"), assignments(plan, "nano")
    assert first.slice == Slice("a" * 64, 0, 2, exits=("exit1",))
    assert second.slice == Slice("a" * 64, 2, 6, exits=("exit2",))
    assert first.exits == rules[:1]
    (closed,) = assignments(plan.model_copy(update={"exits": ()}), "pi4")
    assert closed.slice != first.slice
