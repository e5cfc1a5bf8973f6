"""A policy that was trained on one fleet, started on another: its learning curve beside that from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final

from bench.learning.scene import fleet_world
from services.planner.learning.actor import Actor
from services.planner.learning.training import Training, train
from services.planner.learning.world import World

FIRST: Final = 3
SECOND: Final = 5
"""Devices of the fleet that is trained on first, and of the other one."""

Tell = Callable[[str, float], None]


def transferred(*, steps: int, seeds: Sequence[int], tell: Tell) -> dict[str, Any]:
    """Mean regret per decision while training, by steps done; means over seeds."""
    first, second = [fleet_world(11, devices=FIRST)], [fleet_world(23, devices=SECOND)]
    scratch: list[Training] = []
    later: list[Training] = []
    for place, seed in enumerate(seeds):
        tell(f"fleet of {FIRST}, seed {seed}", place / len(seeds))
        known = train(first, steps=steps, seed=seed).actor
        tell(f"fleet of {SECOND} from scratch, seed {seed}", (place + 0.33) / len(seeds))
        scratch.append(train(second, steps=steps, seed=seed))
        tell(f"fleet of {SECOND} from the other, seed {seed}", (place + 0.67) / len(seeds))
        later.append(train(second, steps=steps, seed=seed, start=known))
    return {
        "steps": steps,
        "seeds": list(seeds),
        "from_scratch": _mean([one.curve for one in scratch]),
        "transferred": _mean([one.curve for one in later]),
        "cpu_s": fmean(one.cpu_s for one in scratch),
    }


def trained_on(worlds: Sequence[World], *, steps: int, seed: int, tell: Tell) -> tuple[Actor, dict[str, Any]]:
    """One actor for all of these fleets, and what its training took."""
    training = train(worlds, steps=steps, seed=seed, progress=lambda at, _regret: tell("training", at / steps))
    return training.actor, {
        "steps": training.steps, "seconds": training.seconds, "cpu_s": training.cpu_s,
        "cpu_ms_per_step": 1e3 * training.cpu_s / training.steps,
        "software": training.software, "curve": list(training.curve),
    }  # fmt: skip


def _mean(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    points = min(map(len, curves))
    return [(curves[0][index][0], fmean(curve[index][1] for curve in curves)) for index in range(points)]
