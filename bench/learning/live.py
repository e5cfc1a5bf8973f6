"""A real line whose link is really shaped after it was measured: the bandit, exact without learning, and who knows.

Broker, planner, monitors, workers and submitters are real, devices and links the testbed's. What is slow afterwards is
one device's link for the connections of its worker alone: its monitor's probes, over connections of their own, go on
seeing what they saw, so nothing that the planner hears of the link tells. Only what requests take does.

Three deployments of the same model are asked in turns, one request at a time, on the same fleet at the same time. In
the end the whole link is made as slow: now probes see it, and exact, which listens to them, moves by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from bench.context import Context
from bench.line import Line, joined, served
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from schemas.deployment import Deployment
from schemas.topics import DEVICE_TELEMETRY, PLAN_LEARNING
from stageline.emulation.fleet_file import FleetLink

FLEET: Final = "learning"
MODEL: Final = "squeezenet1_1"
"""Quick to compute beside what its input takes on these links."""
SLOWER: Final = 4.0
PERIOD_S: Final = 2.0
"""Of a decision, at least: shorter than by default, so that minutes are enough to show it."""
TURNS_S: Final = {"exact": 3.0, "bandit": 9.0, "knows": 3.0}
"""Of each deployment in a round: only the bandit has something to find out."""
NOTICED_S: Final = 90.0
_LOOK_S: Final = 0.1
_PAUSE_S: Final = 0.02
_ANSWERS_LEAST: Final = 4


@dataclass
class Turns:
    """What was seen of one deployment, turn by turn."""

    name: str
    latencies_ms: list[list[float]] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    """At the end of each turn."""


@dataclass
class LiveRun:
    """Everything that was seen."""

    device: str
    believed_mbps: float
    slowed_mbps: float
    turns: dict[str, Turns]
    probes_mbps: list[float] = field(default_factory=list)
    """What the monitor of the slowed device told of its link, round by round: the slower of both ways."""
    learning: dict[str, Any] = field(default_factory=dict)
    connected_anew: int = 0
    """Connections that the slowed worker made meanwhile; they were slowed, too."""
    noticed_s: float | None = None
    """Until exact moved, once probes saw the link slow; None: it did not."""
    noticed_plan: str = ""
    unshaped: tuple[str, ...] = ()


def live(context: Context, *, rounds: int, slower: float = SLOWER, tell: Callable[[str], None]) -> LiveRun:
    """Measure; takes about 16 s for each round, and a minute besides.

    Args:
        context: where the models are.
        rounds: of turns.
        slower: so many times slower the worker's way becomes.
        tell: told what goes on.

    Raises:
        bench.testbed.NotShapedError: links cannot be shaped here.
        stageline.deploying.DeployFailedError: it could not be served.
        stageline.emulation.house.ServiceEndedError: a service ended by itself.
    """
    fleet = context.fleet(FLEET)
    context.card(MODEL)
    with testbed(
        fleet,
        library=context.library.root,
        environment={"STAGELINE_LINK_PERIOD_S": "5"},
        planner_environment={"STAGELINE_LEARN_PERIOD_S": str(PERIOD_S)},
    ) as bed:
        return asyncio.run(_live(bed, rounds, slower, tell))


async def _live(bed: Testbed, rounds: int, slower: float, tell: Callable[[str], None]) -> LiveRun:
    async with Bus(bed.url, name="bench") as bus, AsyncExitStack() as stack:
        tell("devices joining")
        await joined(bus, bed)
        tell("deploying")
        exact = await stack.enter_async_context(served(bus, bed, _wish("exact", "exact")))
        device = exact.plan.routes[0].stages[0].device
        lines = {
            "exact": exact,
            "bandit": await stack.enter_async_context(served(bus, bed, _wish("bandit", "bandit"))),
            "knows": await stack.enter_async_context(served(bus, bed, _wish("knows", "exact", exclude=(device,)))),
        }
        for line in lines.values():
            await _ask_for(line, 1.0, random.Random(0))  # noqa: S311  no secret
        link = next(one.link for one in bed.fleet.devices if one.name == device) or FleetLink(
            up_mbps=1e3, down_mbps=1e3
        )
        run = LiveRun(
            device, min(link.up_mbps, link.down_mbps), min(link.up_mbps, link.down_mbps) / slower,
            {name: Turns(name) for name in lines}, unshaped=bed.unshaped,
        )  # fmt: skip
        ports = bed.slow_frames(device, run.slowed_mbps)
        keeping = asyncio.create_task(_keep_slow(bed, run, ports))
        try:
            await _take_turns(bus, bed, run, lines, rounds=rounds, tell=tell)
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        [learned] = [one.message for one in await bus.snapshot(PLAN_LEARNING)]
        run.learning = learned.model_dump(mode="json")
        tell(f"{device}: now its probes are slow, too")
        bed.set_link(device, FleetLink(up_mbps=link.up_mbps / slower, down_mbps=link.down_mbps / slower))
        await _notice(run, exact)
        return run


def _wish(name: str, policy: str, exclude: tuple[str, ...] = ()) -> Deployment:
    return Deployment(
        deployment=name, model=MODEL, objective="latency", policy=policy, exclude=exclude, side_by_side=False
    )


async def _keep_slow(bed: Testbed, run: LiveRun, ports: frozenset[int]) -> None:
    """Workers connect anew when their work changes: what is new is slowed, too, before much has passed."""
    while True:
        known, ports = ports, await asyncio.to_thread(bed.slow_new_frames, run.device, ports)
        run.connected_anew += len(ports) - len(known)
        await asyncio.sleep(_LOOK_S)


async def _take_turns(
    bus: Bus, bed: Testbed, run: LiveRun, lines: dict[str, Line], *, rounds: int, tell: Callable[[str], None]
) -> None:
    draw = random.Random(1)  # noqa: S311  pauses, no secret
    for number in range(rounds):
        for name in list(lines) if number % 2 == 0 else reversed(list(lines)):
            tell(f"round {number + 1} of {rounds}: {name}")
            run.turns[name].latencies_ms.append(await _ask_for(lines[name], TURNS_S[name], draw))
            run.turns[name].plans.append(_plan(lines[name]))
        bed.check()
        told = [one.message.link for one in await bus.snapshot(DEVICE_TELEMETRY) if one.message.device == run.device]
        run.probes_mbps += [min(link.up_mbps, link.down_mbps) for link in told if link is not None]


async def _ask_for(line: Line, seconds: float, draw: random.Random) -> list[float]:
    """Latencies, ms, of one request after the other; a pause of random length between two, so nothing beats in step."""
    found: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s or len(found) < _ANSWERS_LEAST:
        began_s = time.perf_counter()
        await line.ask(len(found))
        found.append((time.perf_counter() - began_s) * 1e3)
        await asyncio.sleep(draw.uniform(0, _PAUSE_S))
    return found


async def _notice(run: LiveRun, line: Line) -> None:
    """Ask until the plan no longer begins on the slowed device."""
    began_s, draw = time.monotonic(), random.Random(2)  # noqa: S311  pauses, no secret
    while time.monotonic() - began_s < NOTICED_S:
        await _ask_for(line, 1.0, draw)
        served_now = line.client.watch.served
        if served_now is not None and run.device not in served_now.plan.devices:
            run.noticed_s, run.noticed_plan = time.monotonic() - began_s, str(served_now.plan)
            return


def _plan(line: Line) -> str:
    served_now = line.client.watch.served
    return str(served_now.plan) if served_now is not None else ""


def thirds(turns: Turns) -> tuple[Sequence[float], Sequence[float]]:
    """Latencies of all turns together, ms, and of the last third of them."""
    last = max(1, len(turns.latencies_ms) // 3)
    return [ms for turn in turns.latencies_ms for ms in turn], [
        ms for turn in turns.latencies_ms[-last:] for ms in turn
    ]
