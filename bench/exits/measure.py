"""One run: requests as fast as the line takes them, of one kind after the other, while the planner does as it will."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from broker.bus import Bus
from schemas.codec import Array
from schemas.deployment import Decision, Deployment, Pin
from schemas.plan import Plan
from schemas.topics import PLAN_CURRENT, PLAN_DECISION
from services.planner.fleet import read_fleet
from stageline.client import Client
from stageline.deploying import deploy
from stageline.emulation.house import House

DEVICES: Final = {"camera": 0.4, "box": 0.6}
"""Cores each may use."""
CAMERA: Final = "camera"
DEPLOYMENT: Final = "pictures"
_WITHIN_S: Final = 120.0
_DEADLINE_S: Final = 30.0
_SETTLING_S: Final = 2.0
"""After a change, while what was under way before it still comes in."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Inputs that are as easy as each other, and for how long they come."""

    name: str
    inputs: Sequence[Array]
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """A time without a change of inputs or of plan."""

    inputs: str
    plan: str
    generation: int
    cause: str
    """Of the plan, as its decision says."""
    seconds: float
    throughput_rps: float
    shares: dict[str, float]
    """Of the answers in that time, by where they left; `end` is the end."""
    predicted_rps: float
    """When the plan was made."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Seen:
    """Everything that was seen, with the local time of each."""

    plans: list[tuple[float, Plan]] = field(default_factory=list)
    decisions: dict[int, Decision] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def run(
    house: House, model: str, kinds: Sequence[Kind], tell: Callable[[str], None]
) -> tuple[list[Row], dict[str, Any]]:
    """Deploy, submit all kinds one after the other, and say what was seen.

    Returns:
        A row for each time between two changes, and the client's audit (with `failures` by reason).

    Raises:
        stageline.deploying.DeployFailedError: it could not be served.
        stageline.emulation.house.ServiceEndedError: a service ended by itself.
    """
    seen = Seen()
    clock = time.monotonic
    async with Bus(house.broker.url, name="bench") as bus:
        tell("devices joining")
        await _everybody(house, bus)
        tell("measuring and deploying")
        wish = Deployment(
            deployment=DEPLOYMENT, model=model, objective="throughput", requested=time.time(),
            pins=(Pin(device=CAMERA, first=0, last=1),),
        )  # fmt: skip
        await deploy(bus, wish, timeout_s=_WITHIN_S)
        watching = asyncio.create_task(_watch(bus, seen))
        changes: list[tuple[float, str]] = []
        try:
            async with Client(house.broker.url, deployment=DEPLOYMENT, deadline_s=_DEADLINE_S) as client:
                await client.ready()

                async def inputs() -> AsyncIterator[Array]:
                    for kind in kinds:
                        changes.append((clock(), kind.name))
                        tell(f"{kind.name} inputs for {kind.seconds:g} s")
                        for one in itertools.cycle(kind.inputs):
                            if clock() >= changes[-1][0] + kind.seconds:
                                break
                            house.check()
                            yield one

                async with aclosing(client.submit_many(inputs(), in_order=False)) as results:
                    async for result in results:
                        if result.answer is None:
                            seen.failures.append(str(result.error))
                        else:
                            seen.answers.append((clock(), result.answer.receipt.exit or "end"))
                audit = client.audit.as_dict()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
    rows = rows_of(seen, changes, clock())
    return rows, {**audit, "failures": dict(Counter(seen.failures))}


async def _everybody(house: House, bus: Bus) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not set((await read_fleet(bus)).usable) >= set(DEVICES):
            house.check()
            await asyncio.sleep(0.1)


async def _watch(bus: Bus, seen: Seen) -> None:
    async def decisions() -> None:
        async with bus.subscribe(PLAN_DECISION, deployment=DEPLOYMENT) as told:
            async for delivery in told:
                seen.decisions[delivery.message.generation] = delivery.message

    async with asyncio.TaskGroup() as group:
        group.create_task(decisions())
        async with bus.subscribe(PLAN_CURRENT, deployment=DEPLOYMENT) as plans:
            async for delivery in plans:
                seen.plans.append((time.monotonic(), delivery.message))


def rows_of(seen: Seen, changes: Sequence[tuple[float, str]], end_s: float) -> list[Row]:
    """What was seen between two changes of inputs or of plan. Pure."""
    borders = sorted({at for at, _ in changes} | {at for at, _ in seen.plans if at > changes[0][0]})
    rows: list[Row] = []
    for began_s, ended_s in itertools.pairwise([*borders, end_s]):
        kind = next(name for at, name in reversed(changes) if at <= began_s)
        plan = next((plan for at, plan in reversed(seen.plans) if at <= began_s), seen.plans[0][1])
        from_s = began_s + min(_SETTLING_S, (ended_s - began_s) / 2)
        came = Counter(where for at, where in seen.answers if from_s <= at < ended_s)
        decision = seen.decisions.get(plan.generation)
        seconds = ended_s - from_s
        total = sum(came.values())
        rows.append(
            Row(
                inputs=kind,
                plan=str(plan),
                generation=plan.generation,
                cause=decision.cause if decision is not None else "",
                seconds=round(ended_s - began_s, 2),
                throughput_rps=round(total / seconds, 2) if seconds > 0 else 0.0,
                shares={where: round(count / total, 4) for where, count in sorted(came.items())},
                predicted_rps=round(plan.predicted.throughput_rps, 2) if plan.predicted else 0.0,
            )
        )
    return rows
