"""Which blocks of a model each device holds already, and what it costs to move others there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.model import ModelCard
from schemas.parts import parts_of, plan_parts
from schemas.plan import Plan, Route
from schemas.stages import StagesHeld
from services.planner.facts import DeviceFacts

Held = Mapping[str, frozenset[int]]
"""Device -> numbers of the blocks whose weights it has."""

BUILD_S: Final = 0.5
"""Cutting a stage out of the graph, making its session and warming it up: 10 to 150 ms on a desktop core for models of
the size that small computers run, and those are a few times slower."""
_HAS: Final = ("ready", "draining")


def held_blocks(card: ModelCard, card_sha: str, workers: Iterable[StagesHeld]) -> Held:
    """What workers that are there say they hold of a model.

    Args:
        card: the model.
        card_sha: its `sha256`; blocks of another version are none of it.
        workers: their last reports.
    """
    blocks = len(card.blocks)
    return {
        worker.device: frozenset(
            block
            for stage in worker.stages
            if stage.card_sha == card_sha and stage.state in _HAS
            for block in range(stage.first, min(stage.last, blocks))
        )
        for worker in workers
        if worker.online
    }


def planned_blocks(plan: Plan) -> Held:
    """What the devices of a plan hold when it is served."""
    held: dict[str, frozenset[int]] = {}
    for part in plan_parts(plan):
        held[part.device] = held.get(part.device, frozenset()) | frozenset(range(part.first, part.last))
    return held


def missing_bytes(card: ModelCard, routes: Iterable[Route], held: Held) -> dict[str, int]:
    """Weight bytes that each device would have to fetch for these routes; devices that need none are left out.

    A blob that several blocks share is fetched once.
    """
    needed: dict[str, set[int]] = {}
    for route in routes:
        for part in parts_of(route, 0):
            blobs = (index for block in card.blocks[part.first : part.last] for index in block.blobs)
            needed.setdefault(part.device, set()).update(blobs)
    missing: dict[str, int] = {}
    for device, indices in needed.items():
        there = {index for block in held.get(device, ()) for index in card.blocks[block].blobs}
        nbytes = sum(card.blobs[index].nbytes for index in indices - there)
        if nbytes:
            missing[device] = nbytes
    return missing


def switch_s(missing: Mapping[str, int], devices: Iterable[DeviceFacts], *, hub_mbps: float | None = None) -> float:
    """How long it takes until a plan is ready: weights over links, side by side, and building; seconds.

    Args:
        missing: per device, bytes to fetch (`missing_bytes`).
        devices: for their links; one that carries nothing takes for ever.
        hub_mbps: all of it leaves through the hub's link, where that is a limit.
    """
    fetching = [0.0]
    for facts in devices:
        nbytes = missing.get(facts.name, 0)
        if nbytes:
            fetching.append(nbytes * 8e-6 / facts.link.down_mbps if facts.link.down_mbps > 0 else float("inf"))
    if hub_mbps:
        fetching.append(sum(missing.values()) * 8e-6 / hub_mbps)
    return BUILD_S + max(fetching)
