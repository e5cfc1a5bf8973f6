"""Submitters that ask for five times what there is, beside a subscriber that reads nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from bench.chaos.deaf import deaf_subscriber
from bench.chaos.memory_watch import Held, MemoryWatch
from bench.chaos.record import Record
from bench.chaos.scenario import DEPLOYMENT, Load, Scenario
from bench.chaos.scene import Scene
from bench.chaos.submitter import STARTED_WITHIN_S, Pace, said, start
from bench.chaos.tape import WORK
from bench.chaos.wishes import replicas
from broker.bus import Bus
from broker.delivery import Delivery
from schemas.codec import Array
from schemas.stages import Timing
from schemas.topics import DEVICE_TIMING
from stageline.client import Client

_TIMES_CAPACITY: Final = 5.0
_DEADLINE_S: Final = 2.0
"""Of a flood's requests."""
_LATELY_S: Final = 2.0
_BROKER_GROWS_MB: Final = 320
"""At most, by its configuration: 256 MiB for a subscriber that does not read, and what is on the way to the others."""
_WORKER_GROWS_MB: Final = 64


async def _flooded(scene: Scene) -> None:
    seconds = 2.0 if scene.quick else 30.0
    before_ms = _latency_ms(scene.record, 0, scene.now_s)
    capacity_rps = await _capacity_rps(scene, 1.0 if scene.quick else 3.0)
    promised_rps = _promised_rps(scene)
    flooders = 2 if scene.quick else 4
    # A machine that is busy elsewhere for a moment shows less than there is: what the plan promises, at least.
    rate_rps = _TIMES_CAPACITY * max(capacity_rps, promised_rps) / flooders
    # Of a short flood, too, most is to come too late.
    pace = Pace(rate_rps=rate_rps, seconds=seconds, deadline_s=_DEADLINE_S / 4 if scene.quick else _DEADLINE_S)
    watch, workers = MemoryWatch(scene.bed.resident_bytes), _Workers()
    async with AsyncExitStack() as stack:
        reports = await stack.enter_async_context(scene.bus.subscribe(DEVICE_TIMING))
        floods = [start(scene.bed.url, DEPLOYMENT, f"flood{number}", pace) for number in range(flooders)]
        for flood in floods:
            stack.callback(flood.wait)
            stack.callback(flood.kill)
        watch.look()
        for task in (asyncio.create_task(watch.run()), asyncio.create_task(workers.follow(reports))):
            stack.callback(task.cancel)
        broker = scene.bed.broker
        deaf = stack.enter_context(deaf_subscriber(broker.host, broker.port, f"{scene.bus.root}/{WORK}"))
        await asyncio.gather(*(said(flood, STARTED_WITHIN_S) for flood in floods))
        scene.strike(f"a flood of {flooders * rate_rps:.0f} requests a second, and a subscriber that does not read")
        struck_s = scene.now_s
        audits = await asyncio.gather(*(said(flood, seconds + STARTED_WITHIN_S) for flood in floods))
        ended_s, unheard = scene.mark("the flood is over"), workers.unheard
        flood_ms = _latency_ms(scene.record, struck_s, ended_s)
        deaf.close()
        await scene.until(lambda: _recovered(scene.record, ended_s, before_ms), "latency as before", within_s=30)
        recovered_s = scene.mark("latency is as before")
        await asyncio.sleep(0 if scene.quick else 4.0)
        held = watch.held()
    _tell_latencies(scene, before_ms, flood_ms, recovered_s, ended_s)
    _tell_memory(scene, held)
    _tell_floods(scene, audits, capacity_rps)
    scene.figure("promised_rps", promised_rps)
    scene.figure("queue_depth_most", workers.deepest)
    scene.figure("work_after_flood", workers.unheard - unheard)
    window = flooders * sum(route.window for route in scene.plan.routes)
    scene.demand(workers.unheard - unheard <= window, "more than the windows held was left when the flood was over")
    if not scene.quick:
        scene.figure("broker_keeps_mb", await _kept_bytes(scene) / 1e6)


def _promised_rps(scene: Scene) -> float:
    predicted = scene.plan.predicted
    return predicted.throughput_rps if predicted is not None else 0.0


async def _capacity_rps(scene: Scene, seconds: float) -> float:
    """Answers a second when every window is kept full, those to the load included."""
    async with Client(scene.bed.url, deployment=DEPLOYMENT, name="capacity", deadline_s=30) as client:
        await client.ready()
        begun_s = scene.now_s
        first = len(scene.record.shown)

        async def until() -> AsyncIterator[dict[str, Array]]:
            for inputs in itertools.cycle(scene.scenario.inputs(scene.card)):
                if scene.now_s > begun_s + seconds:
                    return
                yield dict(inputs)

        async with aclosing(client.submit_many(until(), in_order=False)) as results:
            async for _ in results:
                pass
        return (client.audit.answered + len(scene.record.shown) - first) / (scene.now_s - begun_s)


async def _kept_bytes(scene: Scene) -> int:
    """What the broker says that all messages take which it keeps now; freed memory stays with its process."""
    async with (
        asyncio.timeout(60),
        Bus(scene.bed.url, name="reader", root="$SYS/broker") as bus,
        bus.subscribe_bytes("store/messages/bytes") as told,
    ):
        async for one in told:
            if not one.retained:  # What was retained was said up to ten seconds ago.
                return int(bytes(one.payload))
    raise RuntimeError("the broker ended its account")


@dataclass
class _Workers:
    """What workers report of themselves, together."""

    deepest: int = 0
    """Most frames that one had taken in and not handed on."""
    nobody: dict[str, int] = field(default_factory=dict)
    """Results that nobody listened for any more, by device, since it started."""

    async def follow(self, reports: AsyncIterator[Delivery[Timing]]) -> None:
        async for report in reports:
            self.deepest = max(self.deepest, report.message.queue_depth)
            self.nobody[report.message.device] = report.message.rejected.get("unheard", 0)

    @property
    def unheard(self) -> int:
        return sum(self.nobody.values())


def _latency_ms(record: Record, begin_s: float, end_s: float) -> float:
    """Median of the requests that were handed in between the two; not-a-number when none was answered."""
    return median(_latencies_ms(record, begin_s, end_s) or [float("nan")])


def _latencies_ms(record: Record, begin_s: float, end_s: float) -> list[float]:
    return [
        (one.at_s - record.submitted[one.index]) * 1000
        for one in record.shown
        if one.answered and begin_s <= record.submitted[one.index] < end_s
    ]


def _recovered(record: Record, since_s: float, before_ms: float) -> bool:
    """Whether the median of the last two seconds is within twice what it was."""
    now_s = record.clock()
    latest = _latencies_ms(record, max(since_s, now_s - _LATELY_S), now_s)
    return len(latest) >= 5 and median(latest) <= 2 * before_ms


def _tell_latencies(scene: Scene, before_ms: float, flood_ms: float, recovered_s: float, ended_s: float) -> None:
    scene.figure("latency_before_ms", before_ms)
    scene.figure("latency_flood_ms", flood_ms)
    scene.figure("latency_after_ms", _latency_ms(scene.record, max(ended_s, recovered_s - _LATELY_S), scene.now_s))
    scene.figure("recovery_ms", (recovered_s - ended_s) * 1000)


def _tell_memory(scene: Scene, held: dict[str, Held]) -> None:
    workers = {name: one for name, one in held.items() if name.startswith("worker:")}
    greediest = max(workers.values(), key=lambda one: one.grown)
    for name, one in {"broker": held["broker"], "planner": held["planner"], "worker": greediest}.items():
        scene.figure(f"{name}_before_mb", one.before / 1e6)
        scene.figure(f"{name}_peak_mb", one.peak / 1e6)
        scene.figure(f"{name}_after_mb", one.after / 1e6)
    scene.figure("broker_grows_mb", held["broker"].grown / 1e6)
    scene.figure("worker_grows_mb", greediest.grown / 1e6)
    scene.say("; ".join(f"{name} {one}" for name, one in held.items() if name in workers or ":" not in name))


def _tell_floods(scene: Scene, audits: list[dict[str, Any]], capacity_rps: float) -> None:
    total = {name: sum(audit[name] for audit in audits) for name in ("submitted", "answered", "lost", "resent")}
    reasons = {reason for audit in audits for reason in audit["reasons"]}
    scene.figure("capacity_rps", capacity_rps)
    scene.figure("flood_submitted", total["submitted"])
    scene.figure("flood_answered", total["answered"])
    scene.demand(total["lost"] == 0, f"{total['lost']} requests of the flood are lost")
    # A worker that finds a request too late says so by another word than the client that gives it up.
    scene.demand(reasons <= {"deadline", "expired"}, f"requests of the flood failed of {sorted(reasons)}")
    scene.say(f"capacity {capacity_rps:.0f} a second; of the flood's {total}, all others failed in time of {reasons}")


SCENARIOS: Final = (
    Scenario(
        name="flood",
        must_hold="five times the capacity for 30 s: memory is bounded, windows hold, latency recovers",
        wish=replicas,
        fault=_flooded,
        load=Load(rate_rps=6, deadline_s=60),
        limits={"broker_grows_mb": _BROKER_GROWS_MB, "worker_grows_mb": _WORKER_GROWS_MB, "recovery_ms": 10_000},
    ),
)
