"""A real line whose link is really shaped after it was measured: the bandit, exact without learning, and who knows.

Broker, planner, monitors, workers and the submitter are real, devices and links the testbed's. What is slow afterwards
is one device's link for the connections of its worker alone: its monitor's probes, over connections of their own, go on
seeing what they saw, so nothing that the planner hears of the link tells. Only what requests take does.

One after the other serves the same fleet alone (deployments side by side would plan with shares of it), exact and who
knows before and after the bandit. In the end the whole link is made as slow: now probes see it, and exact, which
listens to them, moves by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from bench.context import Context
from bench.line import Line, joined, removed, served
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from schemas.deployment import Deployment
from schemas.topics import DEVICE_TELEMETRY, PLAN_LEARNING
from stageline.emulation.fleet_file import FleetLink

FLEET: Final = "learning"
MODEL: Final = "squeezenet1_1"
"""Quick to compute beside what its input takes on these links."""
SLOWER: Final = 4.0
DEPLOYMENT: Final = "live"
PROBE_S: Final = 5
"""Between probes of a link: several fall into every turn."""
PERIOD_S: Final = 2.0
"""Of a decision, at least: shorter than by default, so that minutes are enough to show it."""
TURNS: Final = (("exact", 0.1), ("knows", 0.1), ("bandit", 0.6), ("knows", 0.1), ("exact", 0.1))
"""Who serves one after the other, and which share of the time."""
BIN_S: Final = 10.0
NOTICED_S: Final = 90.0
_LOOK_S: Final = 0.1
_PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer."""

    at_s: float
    """Since its turn began."""
    ms: float
    plan: str
    """That was served when it was asked for."""


@dataclass
class Turn:
    """What was seen while one of them served."""

    name: str
    answers: list[Answered] = field(default_factory=list)


@dataclass
class LiveRun:
    """Everything that was seen."""

    device: str
    believed_mbps: float
    slowed_mbps: float
    turns: list[Turn] = field(default_factory=list)
    probes_mbps: list[float] = field(default_factory=list)
    """What the monitor of the slowed device told of its link meanwhile: the slower of both ways."""
    learning: dict[str, Any] = field(default_factory=dict)
    connected_anew: int = 0
    """Connections that the slowed worker made meanwhile; they were slowed, too."""
    noticed_s: float | None = None
    """Until exact moved, once probes saw the link slow; None: it did not."""
    noticed_plan: str = ""
    unshaped: tuple[str, ...] = ()


def live(context: Context, *, seconds: float, slower: float = SLOWER, tell: Callable[[str], None]) -> LiveRun:
    """Measure; takes `seconds` and a minute or two besides.

    Args:
        context: where the models are.
        seconds: of serving.
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
        environment={"STAGELINE_LINK_PERIOD_S": str(PROBE_S)},
        planner_environment={"STAGELINE_LEARN_PERIOD_S": str(PERIOD_S)},
    ) as bed:
        return asyncio.run(_live(bed, seconds, slower, tell))


async def _live(bed: Testbed, seconds: float, slower: float, tell: Callable[[str], None]) -> LiveRun:
    async with Bus(bed.url, name="bench") as bus:
        tell("devices joining")
        await joined(bus, bed)
        tell("deploying as measured")
        async with served(bus, bed, _wish("exact")) as line:
            device = line.plan.routes[0].stages[0].device
            await _ask_for(line, Turn("before"), 2.0)
        link = next(one.link for one in bed.fleet.devices if one.name == device)
        ports = bed.slow_frames(device, slowed := _slower(link, slower).down_mbps)
        run = LiveRun(device, slower * slowed, slowed, unshaped=bed.unshaped)
        await removed(bus, DEPLOYMENT)
        watching = [asyncio.create_task(_keep_slow(bed, run, ports)), asyncio.create_task(_hear_probes(bus, run))]
        try:
            for name, share in TURNS:
                tell(f"{name} serves for {share * seconds:.0f} s")
                await _turn(bus, bed, run, name, share * seconds)
        finally:
            for task in watching:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        tell(f"{device}: now its probes are slow, too")
        async with served(bus, bed, _wish("exact")) as line:
            bed.set_link(device, _slower(link, slower))
            await _notice(run, line)
        return run


def _slower(link: FleetLink | None, times: float) -> FleetLink:
    """A link as slow both ways as its slower one divided by `times`."""
    mbps = min(link.up_mbps, link.down_mbps) / times if link is not None else 1e3 / times
    return FleetLink(up_mbps=mbps, down_mbps=mbps)


def _wish(name: str, but: str = "") -> Deployment:
    return Deployment(
        deployment=DEPLOYMENT, model=MODEL, objective="latency", policy="bandit" if name == "bandit" else "exact",
        exclude=(but,) if but else (), side_by_side=False,
    )  # fmt: skip


async def _turn(bus: Bus, bed: Testbed, run: LiveRun, name: str, seconds: float) -> None:
    wish = _wish(name, run.device if name == "knows" else "")
    turn = Turn(name)
    run.turns.append(turn)
    async with served(bus, bed, wish) as line:
        await _ask_for(line, Turn("warm-up"), 1.0)
        await _ask_for(line, turn, seconds)
        bed.check()
    if name == "bandit":
        [learned] = [one.message for one in await bus.snapshot(PLAN_LEARNING)]
        run.learning = learned.model_dump(mode="json")
    await removed(bus, DEPLOYMENT)


async def _keep_slow(bed: Testbed, run: LiveRun, ports: frozenset[int]) -> None:
    """Workers connect anew when their work changes: what is new is slowed, too, before much has passed."""
    while True:
        known, ports = ports, await asyncio.to_thread(bed.slow_new_frames, run.device, ports)
        run.connected_anew += len(ports) - len(known)
        await asyncio.sleep(_LOOK_S)


async def _hear_probes(bus: Bus, run: LiveRun) -> None:
    """Note what the slowed device's monitor tells of its link, as the planner hears it."""
    async with bus.subscribe(DEVICE_TELEMETRY, device=run.device) as told:
        async for delivery in told:
            link = delivery.message.link
            # A measurement from before the link was slowed says nothing of what probes see now.
            if link is not None and link.age_s < 1.5:
                run.probes_mbps.append(min(link.up_mbps, link.down_mbps))


async def _ask_for(line: Line, turn: Turn, seconds: float) -> None:
    """One request after the other; a pause of random length between two, so that nothing beats in step."""
    began_s, draw = time.perf_counter(), random.Random(1)  # noqa: S311  pauses, no secret
    while (at_s := time.perf_counter() - began_s) < seconds:
        plan = _plan(line)
        await line.ask(len(turn.answers))
        turn.answers.append(Answered(at_s, (time.perf_counter() - began_s - at_s) * 1e3, plan))
        await asyncio.sleep(draw.uniform(0, _PAUSE_S))


async def _notice(run: LiveRun, line: Line) -> None:
    """Ask until the plan no longer uses the slowed device."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < NOTICED_S:
        await _ask_for(line, Turn("noticing"), 1.0)
        served_now = line.client.watch.served
        if served_now is not None and run.device not in served_now.plan.devices:
            run.noticed_s, run.noticed_plan = time.monotonic() - began_s, str(served_now.plan)
            return


def _plan(line: Line) -> str:
    served_now = line.client.watch.served
    return str(served_now.plan) if served_now is not None else ""
