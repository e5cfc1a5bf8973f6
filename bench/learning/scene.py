"""Made-up fleets, and worlds in which a link is twice as slow as measured, or in which nothing is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from schemas.model import ModelCard
from schemas.plan import Objective
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.learning.world import Off, World
from stageline.benches.planner import made_up_card

BLOCKS: Final = 12
MATTERS: Final = 0.1
"""A mistake matters if exact's plan really costs so much more than the best, as a share."""
TWICE: Final = Off(up=2.0, down=2.0)


def fleet_world(seed: int, *, devices: int = 3, objective: Objective = "latency") -> World:
    """Devices that are all different, each faster one behind a slower link, and a model of BLOCKS blocks."""
    draw = random.Random(seed)  # noqa: S311  a made-up fleet, not a secret
    card = made_up_card(BLOCKS - 1, seed)
    facts = tuple(_device(card, f"d{number}", number, devices, draw) for number in range(devices))
    wish = Deployment(deployment="made-up", model=card.name, objective=objective)
    return World(card, wish, facts, HubFacts(900.0, 900.0, 0.5))


def slow_links(*, devices: int = 3, objective: Objective = "latency", first_seed: int = 0) -> Iterator[World]:
    """Worlds with one link twice as slow as measured, a link that exact's plan uses, where that matters."""
    seed = first_seed
    while True:
        world = fleet_world(seed, devices=devices, objective=objective)
        seed += 1
        exact = world.arms()[0]
        for name in dict.fromkeys(stage.device for route in exact.choice.routes for stage in route.stages):
            wrong = replace(world, off={name: TWICE})
            if wrong.true_cost(exact) >= (1 + MATTERS) * wrong.best_cost:
                yield wrong
                break


def some_slow_links(count: int, *, devices: int = 3, objective: Objective = "latency") -> list[World]:
    """The first so many of them: always the same."""
    return list(islice(slow_links(devices=devices, objective=objective), count))


def _device(card: ModelCard, name: str, number: int, devices: int, draw: random.Random) -> DeviceFacts:
    slowness = 1 + 1.5 * number / max(1, devices - 1)
    mbps = draw.uniform(25, 60) * (1 + 2.5 * number / max(1, devices - 1))
    return DeviceFacts(
        info=DeviceInfo(
            device=name, boot_id="bench", hostname=name, machine="made up", architecture="none", cores=4,
            capacity_cores=4.0, memory_bytes=1 << 34,
            power=PowerModel(idle_w=2.0, busy_w=6.0, method="modelled", source="made up"),
        ),
        profile=Profile(
            device=name, boot_id="bench", model=card.name, card_sha=card.sha256, backend="onnxruntime", threads=1,
            block_ms=tuple(block.macs / 4e6 * slowness * draw.uniform(0.9, 1.1) for block in card.blocks),
            frame_ms=0.4, frame_ms_per_mb=1.5, rounds=1, capacity_cores=4.0,
        ),
        link=LinkMeasure(rtt_ms=draw.uniform(0.5, 2), up_mbps=mbps, down_mbps=mbps, probe_bytes=1, age_s=0.0),
        memory_budget_bytes=1 << 33,
    )  # fmt: skip
