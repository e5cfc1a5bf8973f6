"""One input that a stage raises on, among many that it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from bench.chaos.brittle import NAME, brittle_model, ordinary, poisonous
from bench.chaos.left_alone import left_alone
from bench.chaos.made_up import import_onnx
from bench.chaos.scenario import Scenario
from bench.chaos.scene import Scene
from bench.chaos.wishes import pipeline
from models.library import Library
from schemas.codec import Array
from schemas.model import ModelCard

_ONE_IN: Final = 60
"""Few, and the first comes when the line has been running for a while."""


def _brittle(library: Library, _quick: bool) -> ModelCard:
    known = library.cards().get(NAME)
    return known if known is not None else import_onnx(brittle_model(), NAME, library)


def _inputs(card: ModelCard) -> Sequence[Mapping[str, Array]]:
    """All but the last are ordinary."""
    name = card.inputs[0].name
    return [*({name: ordinary(seed)} for seed in range(_ONE_IN - 1)), {name: poisonous()}]


def _is_poisonous(index: int) -> bool:
    return index % _ONE_IN == _ONE_IN - 1


async def _poisoned(scene: Scene) -> None:
    before, record = scene.plan, scene.record
    scene.strike(f"one request in {_ONE_IN} is poisonous")
    wanted = 1 if scene.quick else 4
    await scene.until(
        lambda: sum(not one.answered for one in record.shown) >= wanted, f"{wanted} failures", within_s=40
    )
    await asyncio.sleep(0.5)
    failures = [one for one in record.shown if not one.answered]
    scene.demand(all(_is_poisonous(one.index) for one in failures), "a request with an ordinary input failed")
    scene.demand({one.reason for one in failures} == {"stage-failed"}, f"failed of {[one.reason for one in failures]}")
    scene.demand(all("Gather" in one.detail for one in failures), f"it does not say why: {failures[0].detail}")
    # Of them alone: an ordinary one may be sent again, too, where a busy machine keeps its answer for long.
    scene.figure("tries_each", max(one.sent for one in failures))
    left_alone(scene, before)
    scene.say(f"one of them: {failures[0].detail}")


SCENARIOS: Final = (
    Scenario(
        name="poisonous-input",
        must_hold="that request fails with the reason after three tries; the rest go on",
        wish=pipeline,
        fault=_poisoned,
        model=_brittle,
        inputs=_inputs,
        may_fail=True,
        limits={"tries_each": 3, "longest_silence_ms": 500},
    ),
)
