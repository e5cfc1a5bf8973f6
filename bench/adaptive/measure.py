"""One run: a fresh fleet, one contender's planner, one load, and the trace replayed to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from bench.adaptive.contenders import Contender
from bench.adaptive.figures import figures
from bench.adaptive.loads import Asked, Examined, LoadName, run_load
from bench.adaptive.replay import kinds_of, replay
from bench.adaptive.trace import Change, make_trace
from bench.chaos.load import references
from bench.context import Context
from bench.line import joined, made_up_inputs, served, undisturbed
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import load_stage
from schemas.topics import PLAN_CURRENT, PLAN_DECISION

FLEET: Final = "hml"
SETTLE_S: Final = 5.0
"""Requests come for so long before the trace begins: what a fresh line still has to learn is no part of it."""


@dataclass(slots=True)
class Run:
    """What one run saw; times in seconds since the trace began."""

    contender: str
    load: LoadName
    seconds: float
    trace: Sequence[Change]
    asked: list[Asked] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    """Each plan as it became current: when, which, and why."""
    lost: int = 0
    machine_load: tuple[float, ...] = ()
    """The machine's load average over a minute, before the first request and after the last: how quiet it was."""
    unshaped: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, Any]:
        """For the report and for JSON."""
        return {
            **figures(self.asked, self.seconds, self.lost),
            "plans": self.plans,
            "changes_of_plan": sum(plan["at_s"] > 0 for plan in self.plans),
            "machine_load": [round(load, 2) for load in self.machine_load],
            "unshaped": list(self.unshaped),
        }


def measure(
    context: Context, contender: Contender, load: LoadName, *, seconds: float, seed: int, tell: Callable[[str], None]
) -> Run:
    """Start a fleet, have the contender serve it, and replay the trace to it.

    Args:
        context: where the models are.
        contender: who serves.
        load: what is asked.
        seconds: of the trace.
        seed: of the trace.
        tell: told what goes on.

    Raises:
        stageline.deploying.DeployFailedError: it could not be served at all.
        stageline.emulation.house.ServiceEndedError: a service ended by itself.
    """
    card = context.card(contender.wish(load).model)
    fleet = context.fleet(FLEET)
    inputs = made_up_inputs(card)
    whole = load_stage(card, context.library.blobs, 0, len(card.blocks))
    try:
        expected = references(whole, inputs)
    finally:
        whole.close()

    async def live(bed: Testbed, run: Run) -> None:
        async with Bus(bed.url, name="bench") as bus:
            tell("devices joining")
            await joined(bus, bed)
            tell("deploying")
            async with served(bus, bed, contender.wish(load)) as line:
                await undisturbed(bus, line.plan)
                await follow(bus, bed, run, Examined(line.client, inputs, expected), tell)
                audit = line.client.audit
                run.lost = audit.lost + audit.open

    with testbed(fleet, library=context.library.root, planner_environment=contender.planner_environment) as bed:
        trace = make_trace([device.name for device in fleet.devices], seconds, seed, kinds_of(bed))
        run = Run(contender.name, load, seconds, trace, unshaped=bed.unshaped)
        asyncio.run(live(bed, run))
    return run


async def follow(
    bus: Bus, bed: Testbed, run: Run, examined: Examined, tell: Callable[[str], None], *, settle_s: float = SETTLE_S
) -> None:
    """Ask while the trace is replayed, and keep in `run` what came of it.

    Args:
        bus: open, of the bed's broker.
        bed: what the trace changes.
        run: which trace and load; filled.
        examined: what is asked.
        tell: told each change as it is made.
        settle_s: how long requests come before the trace begins.
    """
    loop = asyncio.get_running_loop()
    before = os.getloadavg()[0]
    tell("settling")
    await run_load(run.load, examined, loop.time(), settle_s)
    begin_s = loop.time()
    watching = asyncio.create_task(_watch_plans(bus, run, begin_s))
    changing = asyncio.create_task(replay(bed, run.trace, begin_s, lambda change: tell(str(change))))
    try:
        run.asked += await run_load(run.load, examined, begin_s, run.seconds)
        await changing
        run.machine_load = (before, os.getloadavg()[0])
    finally:
        for task in (watching, changing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    bed.check()


async def _watch_plans(bus: Bus, run: Run, begin_s: float) -> None:
    """Note each plan that becomes current, with the cause that its decision gives."""
    clock = asyncio.get_running_loop().time
    causes: dict[int, str] = {}

    async def listen() -> None:
        async with bus.subscribe(PLAN_DECISION) as decisions:
            async for delivery in decisions:
                causes[delivery.message.generation] = delivery.message.cause
                for known in run.plans:
                    known["cause"] = causes.get(known["generation"], "")

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        async with bus.subscribe(PLAN_CURRENT) as plans:
            async for delivery in plans:
                plan = delivery.message
                if plan.generation not in {known["generation"] for known in run.plans}:
                    at_s = 0.0 if delivery.retained else round(clock() - begin_s, 3)
                    cause = causes.get(plan.generation, "")
                    run.plans.append({"at_s": at_s, "generation": plan.generation, "plan": str(plan), "cause": cause})
