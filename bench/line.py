"""Stageline under test: a wish deployed by the real planner, measured at rest and flat out.

At rest, one request at a time finds an idle line, with a pause of random length before each (a CPU quota is a clock:
asking in step with it would measure the step). Flat out, requests are submitted as fast as the routes' windows take
them, and only a stretch of the steady state counts: neither the filling of the line nor its last requests, when
some devices have nothing left to do. Every answer is compared with the unsplit model's.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final, Literal, Protocol

import numpy as np

from bench.profiles import MEASURED
from bench.window import Window, settle_s, steady_rps
from broker.bus import Bus
from models.made_up import made_up_tensor
from models.runtime import StageRunner
from schemas.codec import Array
from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.stages import HeldStage
from schemas.topics import DEPLOYMENT, DEVICE_STAGES, PLAN_DECISION
from services.planner.fleet import Device, read_fleet
from stageline.client import Client
from stageline.deploying import Rollout, deploy
from stageline.emulation.fleet_file import FleetFile
from stageline.receipts import Answer, EnergyMethod, Receipt

REST_S: Final = (0.01, 0.03)
"""Between requests that are submitted one by one."""
PICTURES: Final = 4
"""Different inputs, in turn: nothing is measured on an answer that could have been remembered."""
SUBMITTER: Final = "submitter"
_JOIN_TIMEOUT_S: Final = 180.0
_LINKS_SETTLED: Final = 10
"""Telemetry messages, one a second: monitors probe their links three times at first, within about eight seconds."""
_DEPLOY_TIMEOUT_S: Final = 240.0
_WARM_UP: Final = 3
_SPARE: Final = 4
"""Requests held beyond a route's window, so that it is full again the moment answers leave it, several at once too.
No more: all that is held must be answered before the next measurement."""
_DEADLINE_S: Final = 120.0


class Bed(Protocol):
    """The part of a testbed that measuring a line needs."""

    @property
    def fleet(self) -> FleetFile:
        """Whose devices should join."""

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by service."""

    def resident_bytes(self) -> dict[str, int]:
        """Resident memory now, by service."""

    def check(self) -> None:
        """Raise when a service ended by itself."""


@dataclass(frozen=True)
class LineFigures:
    """Everything that was seen of one plan."""

    plan: str
    predicted_latency_ms: float
    predicted_rps: float
    latencies_ms: tuple[float, ...]
    """Of requests that found the line at rest."""
    throughput_rps: float
    """In the steady state, flat out."""
    cpu_s: dict[str, float]
    """Spent in that stretch, by service, and by this process, which submits (`SUBMITTER`)."""
    wall_s: float
    """How long the stretch was."""
    resident_bytes: dict[str, int]
    """At its end."""
    energy_j: float
    """Per request, flat out: mean over the receipts."""
    energy_method: EnergyMethod
    max_abs_error: float
    """Largest difference of any answer from the unsplit model's; not-a-number where there was no reference."""
    answered: int
    failed: int
    deploy_s: float
    """From the wish to being served: measuring the model where that was missing, planning, fetching, warming up."""
    replanned: bool
    """Another plan took over in between, so the figures are of more than one."""


@dataclass
class Line:
    """One deployment that is being served, and a submitter for it."""

    client: Client
    card: ModelCard
    plan: Plan
    decision: Decision
    deploy_s: float
    inputs: Sequence[Mapping[str, Array]]
    expected: Sequence[Mapping[str, Array]] | None
    error: float = field(default=float("nan"))
    """Largest difference from `expected` so far."""

    @property
    def replanned(self) -> bool:
        """Another plan than `plan` is served now."""
        served = self.client.watch.served
        return served is None or served.plan.generation != self.plan.generation

    async def ask(self, number: int) -> Receipt:
        """Submit one input and compare its answer.

        Raises:
            stageline.receipts.RequestFailedError: there is no answer.
        """
        number %= len(self.inputs)
        answer = await self.client.submit(self.inputs[number], deadline_s=_DEADLINE_S)
        self.compare(number, answer)
        return answer.receipt

    def compare(self, number: int, answer: Answer) -> None:
        """Remember how far an answer to input `number` is from the unsplit model's."""
        if self.expected is not None:
            self.error = float(np.fmax(self.error, difference(self.expected[number], answer.outputs)))


@dataclass(frozen=True)
class FlatOut:
    """One stretch of a line's steady state."""

    throughput_rps: float
    cpu_s: dict[str, float]
    wall_s: float
    resident_bytes: dict[str, int]
    energy_j: float
    energy_method: EnergyMethod
    counted: int
    """Answers in the stretch."""
    latencies_ms: tuple[float, ...]
    """Of those answers, from sending to answer: how long a request is under way when the line is full."""


async def joined(bus: Bus, bed: Bed, *, links_settled: bool = True, timeout_s: float = _JOIN_TIMEOUT_S) -> None:
    """Return when every device of the bed can be planned with; models they measured in this run are known then.

    Args:
        bus: open, of the bed's broker.
        bed: whose devices should join.
        links_settled: wait until monitors have measured their links a few times, too: measuring a model fills a slow
            link with frames, and what a probe sees then is not the link.
        timeout_s: for all of it.

    Raises:
        TimeoutError: one does not join in time.
    """

    def there(device: Device) -> bool:
        return not links_settled or (device.telemetry is not None and device.telemetry.sequence >= _LINKS_SETTLED)

    async with asyncio.timeout(timeout_s):
        while sum(map(there, (await read_fleet(bus)).usable.values())) < len(bed.fleet.devices):
            bed.check()
            await asyncio.sleep(0.2)
    await MEASURED.recall(bus, bed.fleet.name)


@asynccontextmanager
async def served(
    bus: Bus,
    bed: Bed,
    wish: Deployment,
    *,
    reference: StageRunner | None = None,
    tell: Callable[[Rollout], None] = lambda _: None,
) -> AsyncIterator[Line]:
    """Deploy `wish` and submit to it while inside; it goes on being served afterwards. `tell` hears of each step.

    Raises:
        stageline.deploying.DeployFailedError: the planner has no plan for it, or it took too long.
    """
    started = time.monotonic()
    stamped = wish.model_copy(update={"requested": time.time()})
    decision = await deploy(bus, stamped, timeout_s=_DEPLOY_TIMEOUT_S, tell=tell)
    deploy_s = time.monotonic() - started
    await MEASURED.remember(bus, bed.fleet.name)
    async with Client(bus.address, deployment=wish.deployment, root=bus.root) as client:
        card = await client.ready()
        while client.watch.served is None or client.watch.served.plan.generation < decision.generation:
            await client.watch.changed()
        inputs = made_up_inputs(card)
        expected = None if reference is None else [await asyncio.to_thread(reference.run, one) for one in inputs]
        yield Line(client, card, client.watch.served.plan, decision, deploy_s, inputs, expected)


async def removed(bus: Bus, deployment: str) -> None:
    """Take a deployment back and wait until the planner confirms it: its stages are dropped."""
    async with asyncio.timeout(_DEPLOY_TIMEOUT_S), bus.subscribe(PLAN_DECISION, deployment=deployment) as decisions:
        await bus.clear(DEPLOYMENT, deployment=deployment)
        async for delivery in decisions:
            if delivery.message.state == "removed" and not delivery.retained:
                return


async def undisturbed(bus: Bus, plan: Plan) -> None:
    """Return when no device holds a stage of an earlier plan any more: dropping one takes of its quota, too.

    Raises:
        TimeoutError: one is not dropped in time.
    """
    await _held(bus, lambda stage: stage.deployment != plan.deployment or stage.generation == plan.generation)


async def dropped(bus: Bus, plan: Plan) -> None:
    """Return when no device holds anything of a removed deployment any more, so that its memory is free.

    Raises:
        TimeoutError: something is not dropped in time.
    """
    await _held(bus, lambda stage: stage.deployment != plan.deployment)


async def _held(bus: Bus, fine: Callable[[HeldStage], bool]) -> None:
    """Return when all stages on all devices are `fine`."""
    async with asyncio.timeout(_DEPLOY_TIMEOUT_S), bus.subscribe(DEVICE_STAGES) as reports:
        devices = {report.message.device for report in await bus.snapshot(DEVICE_STAGES)}
        async for report in reports:
            if all(map(fine, report.message.stages)):
                devices.discard(report.message.device)
            else:
                devices.add(report.message.device)
            if not devices:
                return


async def at_rest(line: Line, count: int) -> tuple[float, ...]:
    """Latencies of so many requests one by one, ms; a few more go before them and are not counted."""
    latencies = []
    for number in range(_WARM_UP + count):
        await asyncio.sleep(random.uniform(*REST_S))  # noqa: S311  not a secret
        receipt = await line.ask(number)
        if number >= _WARM_UP:
            latencies.append(receipt.latency_ms)
    return tuple(latencies)


async def flat_out(bed: Bed, line: Line, seconds: float) -> FlatOut:
    """Keep every route's window full, and look at `seconds` of the steady state.

    Raises:
        stageline.receipts.RequestFailedError: a request got no answer.
    """
    now = time.monotonic
    begin = now() + settle_s(line.plan)
    window = Window(begin, begin + seconds)
    looking = asyncio.create_task(_spent(bed, window))
    arrivals: list[tuple[float, Receipt]] = []
    try:
        held = sum(route.window + _SPARE for route in line.plan.routes)
        submitted = line.client.submit_many(
            _until(line, window.end), deadline_s=_DEADLINE_S, in_order=False, at_once=held
        )
        async with aclosing(submitted) as results:
            async for result in results:
                if result.answer is None:
                    raise result.error or RuntimeError("neither an answer nor an error")
                arrivals.append((now(), result.answer.receipt))
                line.compare(result.index % len(line.inputs), result.answer)
        cpu_s, wall_s, resident = await looking
    finally:
        looking.cancel()
    inside = [receipt for at, receipt in arrivals if window.holds(at)]
    return FlatOut(
        throughput_rps=steady_rps([at for at, _ in arrivals], window),
        cpu_s=cpu_s,
        wall_s=wall_s,
        resident_bytes=resident,
        energy_j=fmean(receipt.energy_j for receipt in inside) if inside else float("nan"),
        energy_method=weakest({receipt.energy_method for receipt in inside}),
        counted=len(inside),
        latencies_ms=tuple(receipt.line_ms for receipt in inside),
    )


async def measure_line(
    bus: Bus, bed: Bed, wish: Deployment, *, one_by_one: int, flat_out_s: float, reference: StageRunner | None
) -> LineFigures:
    """Deploy `wish` through the planner; measure latency at rest, then throughput flat out.

    Args:
        bus: open, of the bed's broker.
        bed: whose CPU and memory are looked at.
        wish: `requested` is set here.
        one_by_one: requests for latency.
        flat_out_s: length of the stretch for throughput.
        reference: the whole model in this process, to compare answers with.

    Raises:
        stageline.deploying.DeployFailedError: there is no plan for the wish, or it took too long.
        stageline.receipts.RequestFailedError: a request got no answer.
    """
    async with served(bus, bed, wish, reference=reference) as line:
        latencies = await at_rest(line, one_by_one)
        full = await flat_out(bed, line, flat_out_s)
    bed.check()
    predicted = line.plan.predicted
    return LineFigures(
        plan=str(line.plan),
        predicted_latency_ms=predicted.latency_ms if predicted else float("nan"),
        predicted_rps=predicted.throughput_rps if predicted else float("nan"),
        latencies_ms=latencies,
        throughput_rps=full.throughput_rps,
        cpu_s=full.cpu_s,
        wall_s=full.wall_s,
        resident_bytes=full.resident_bytes,
        energy_j=full.energy_j,
        energy_method=full.energy_method,
        max_abs_error=line.error,
        answered=line.client.audit.answered,
        failed=line.client.audit.failed,
        deploy_s=line.deploy_s,
        replanned=line.replanned,
    )


def made_up_inputs(card: ModelCard, count: int = PICTURES) -> list[dict[str, Array]]:
    """`count` different inputs of a model: random pictures where it takes bytes, else made-up tensors."""
    draw = np.random.default_rng(0)

    def tensor(dtype: str, shape: tuple[int, ...], fallback: Array) -> Array:
        return draw.integers(0, 256, shape, dtype=np.uint8) if dtype == "uint8" else fallback

    return [
        {spec.name: tensor(spec.dtype, spec.shape, made_up_tensor(spec)) for spec in card.inputs} for _ in range(count)
    ]


def difference(expected: Mapping[str, Array], answered: Mapping[str, Array]) -> float:
    """Largest absolute difference between two sets of outputs.

    Raises:
        KeyError: an output is missing.
    """
    return max(
        float(np.abs(np.subtract(answered[name], array, dtype=np.float64)).max()) for name, array in expected.items()
    )


def weakest(methods: set[EnergyMethod]) -> EnergyMethod:
    """What may be said of joules from several receipts: the least that one of them may."""
    order: tuple[Literal["unknown", "modelled", "measured"], ...] = ("unknown", "modelled", "measured")
    return next((method for method in order if method in methods), "unknown")


async def _until(line: Line, end: float) -> AsyncIterator[Mapping[str, Array]]:
    for inputs in itertools.cycle(line.inputs):
        if time.monotonic() >= end:
            return
        yield inputs


async def _spent(bed: Bed, window: Window) -> tuple[dict[str, float], float, dict[str, int]]:
    """CPU seconds by service between the window's ends, how long that really was, and memory at its end."""
    await asyncio.sleep(window.begin - time.monotonic())
    begun, before = time.monotonic(), {**bed.cpu_s(), SUBMITTER: time.process_time()}
    await asyncio.sleep(window.end - time.monotonic())
    ended, after = time.monotonic(), {**bed.cpu_s(), SUBMITTER: time.process_time()}
    return {name: after[name] - before.get(name, 0.0) for name in after}, ended - begun, bed.resident_bytes()
