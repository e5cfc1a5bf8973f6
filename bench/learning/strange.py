"""Worlds whose mistake is none of the learner's terms: no factor of any device or link makes what is believed true.

The regression believes that a device's computing, and each way of its link, takes so many times as long as predicted,
whatever the plan. Here how much longer depends on the plan itself: on how much of the model a device holds, on how
large the messages are, on who else uses the same switch. What is best is found by looking at every route there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

from bench.learning.scene import MATTERS, fleet_world
from services.planner.complete import lines_of, stage_prediction
from services.planner.cost import Problem
from services.planner.learning.arms import Arm
from services.planner.learning.world import World
from services.planner.line_cost import Line, Placement, line_cost
from services.planner.policies.brute_force import all_lines

KNEE: Final = 0.3
"""Share of the model's weights that a small memory holds without trouble."""
SWAPPING: Final = 3.0
"""So much longer, as a share, everything takes where it holds the whole model; quadratic between."""
SMALL_BYTES: Final = 64_000
"""Of a message, that pass as measured;"""
BULK: Final = 4.0
"""what is beyond takes so many times as long."""
CROWD: Final = 0.6
"""How busy the switch is that two devices share, as long as exact's plan is served."""
_CROWDED_MOST: Final = 0.9

Mistake = Callable[[Problem, Line], float]
"""How many ms longer a request of this route takes than the cost model says."""


@dataclass(frozen=True)
class StrangeWorld(World):
    """A world with a further mistake; for latency only, and models whose rows nobody shares."""

    mistake: Mistake = lambda _problem, _line: 0.0

    def true_cost(self, arm: Arm) -> float:
        """What a plan really costs, ms."""
        routes = arm.choice.routes
        lines = lines_of(self.true, routes)
        return sum(route.weight * self._latency_ms(line) for route, line in zip(routes, lines, strict=True))

    @cached_property
    def best_cost(self) -> float:
        """What the route costs that is really the best of all, ms."""
        return min(self._latency_ms(line) for line in all_lines(self.true))

    def _latency_ms(self, line: Line) -> float:
        return line_cost(self.true, line).latency_ms + self.mistake(self.true, line)


def small_memory(devices: Sequence[int]) -> Mistake:
    """Devices that compute the slower, the more of the model they hold: they swap."""

    def longer_ms(problem: Problem, line: Line) -> float:
        weights = [block.weight_bytes for block in problem.card.blocks]
        found = 0.0
        for stage in (stage for stage in line if stage.device in devices):
            first, last = (int(problem.positions[at]) for at in (stage.first, stage.last))
            beyond = max(0.0, sum(weights[first:last]) / sum(weights) - KNEE) / (1 - KNEE)
            found += SWAPPING * beyond**2 * stage_prediction(problem, stage).compute_ms
        return found

    return longer_ms


def slow_bulk(device: int) -> Mistake:
    """A link that carries small messages as measured, and what is beyond SMALL_BYTES BULK times as slowly."""

    def longer_ms(problem: Problem, line: Line) -> float:
        found = 0.0
        for stage in _on(device, line):
            told = stage_prediction(problem, stage)
            for ms, at in ((told.down_ms, stage.first), (told.up_ms, stage.last)):
                found += (BULK - 1) * ms * max(0.0, 1 - SMALL_BYTES / float(problem.wire_bytes[at]))
        return found

    return longer_ms


def crowded_switch(devices: Sequence[int], rps: float) -> Mistake:
    """Links that share one switch: whoever sends waits the longer, the busier all of them keep it together.

    Requests come `rps` times a second; of a server that is busy the share r of its time, everything takes 1 / (1 - r)
    times as long (M/M/1).
    """

    def longer_ms(problem: Problem, line: Line) -> float:
        sent_ms = sum(_sent_ms(problem, stage) for device in devices for stage in _on(device, line))
        busy = min(_CROWDED_MOST, rps * sent_ms / 1e3)
        return sent_ms * busy / (1 - busy)

    return longer_ms


def some_strange(kind: str, count: int) -> list[StrangeWorld]:
    """The first so many worlds of a kind in which the mistake matters: always the same."""
    return list(islice(_strange(kind), count))


def _strange(kind: str) -> Iterator[StrangeWorld]:
    seed = 0
    while True:
        world = fleet_world(seed)
        seed += 1
        exact = world.arms()[0]
        line = lines_of(world.believed, exact.choice.routes[:1])[0]
        for device in dict.fromkeys(stage.device for stage in line):
            wrong = _wrong(kind, world, line, device)
            if wrong.true_cost(exact) >= (1 + MATTERS) * wrong.best_cost:
                yield wrong
                break


def _wrong(kind: str, world: World, line: Line, device: int) -> StrangeWorld:
    return StrangeWorld(
        world.card, world.wish, world.facts, world.hub, mistake=KINDS[kind](world.believed, line, device)
    )


def _crowded_beside(problem: Problem, line: Line, device: int) -> Mistake:
    """The switch is shared with the next device, and as busy as CROWD while exact's plan is served."""
    pair = (device, (device + 1) % len(problem.devices))
    sent_ms = sum(_sent_ms(problem, stage) for one in pair for stage in _on(one, line))
    return crowded_switch(pair, CROWD * 1e3 / sent_ms)


def _on(device: int, line: Line) -> list[Placement]:
    return [stage for stage in line if stage.device == device]


def _sent_ms(problem: Problem, stage: Placement) -> float:
    told = stage_prediction(problem, stage)
    return told.down_ms + told.up_ms


KINDS: Final[dict[str, Callable[[Problem, Line, int], Mistake]]] = {
    "small_memory": lambda _problem, _line, device: small_memory((device,)),
    "small_memories": lambda problem, _line, _device: small_memory(range(len(problem.devices))),
    "slow_bulk": lambda _problem, _line, device: slow_bulk(device),
    "crowded_switch": _crowded_beside,
}
"""By name: a mistake about one device of exact's route."""


def believed_right(world: World) -> StrangeWorld:
    """The same world, where nothing is wrong, with the best of all routes looked up one by one."""
    return StrangeWorld(world.card, world.wish, world.facts, world.hub)
