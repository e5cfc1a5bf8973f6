"""Stageline under test: a wish deployed by the real planner, and a submitter that compares every answer.

What it is asked, and how fast, is `bench.loads`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from bench.profiles import MEASURED
from bench.window import NothingAnsweredError
from broker.bus import Bus
from models.made_up import made_up_tensor
from models.runtime import StageRunner
from schemas.codec import Array
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.stages import HeldStage
from schemas.topics import DEPLOYMENT, DEVICE_STAGES, PLAN_DECISION
from services.planner.device import Device
from services.planner.fleet import read_fleet
from stageline.client import Client
from stageline.deploying import DeployFailedError, Rollout, deploy
from stageline.emulation.fleet_file import FleetFile
from stageline.emulation.house import ServiceEndedError
from stageline.receipts import Answer, Receipt, RequestFailedError

PICTURES: Final = 4
"""Different inputs, in turn: nothing is measured on an answer that could have been remembered."""
DEADLINE_S: Final = 120.0
"""Of every request: none is given up because a small device under a quota takes its time."""
_JOIN_TIMEOUT_S: Final = 180.0
_LINKS_SETTLED: Final = 10
"""Telemetry messages, one a second: monitors probe their links three times at first, within about eight seconds."""
_DEPLOY_TIMEOUT_S: Final = 240.0


class NoNumberError(RuntimeError):
    """An answer holds not-a-number where the unsplit model's holds a number, or the other way round."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(f"an answer of {plan} holds not-a-number where the unsplit model's does not, or vice versa")


LINE_FAILURES: Final = (DeployFailedError, RequestFailedError, NothingAnsweredError, NoNumberError, TimeoutError)
"""What a line can fail of by itself: a row that says so, and no end of the measurement."""
BED_FAILURES: Final = (ServiceEndedError,)
"""After these nothing more can be measured on the same devices."""


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


@dataclass
class Line:
    """One deployment that is being served, and a submitter for it."""

    client: Client
    card: ModelCard
    plan: Plan
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
        answer = await self.client.submit(self.inputs[number], deadline_s=DEADLINE_S)
        self.compare(number, answer)
        return answer.receipt

    def compare(self, number: int, answer: Answer) -> None:
        """Remember how far an answer to input `number` is from the unsplit model's.

        Raises:
            NoNumberError: it cannot be said how far.
        """
        if self.expected is not None:
            apart = difference(self.expected[number], answer.outputs)
            if math.isnan(apart):
                raise NoNumberError(self.plan)
            self.error = float(np.fmax(self.error, apart))


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
    stamped = wish.model_copy(update={"requested": time.time()})
    decision = await deploy(bus, stamped, timeout_s=_DEPLOY_TIMEOUT_S, tell=tell)
    await MEASURED.remember(bus, bed.fleet.name)
    async with Client(bus.address, deployment=wish.deployment, root=bus.root) as client:
        card = await client.ready()
        while client.watch.served is None or client.watch.served.plan.generation < decision.generation:
            await client.watch.changed()
        inputs = made_up_inputs(card)
        expected = None if reference is None else [await asyncio.to_thread(reference.run, one) for one in inputs]
        yield Line(client, card, client.watch.served.plan, inputs, expected)


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


def made_up_inputs(card: ModelCard, count: int = PICTURES) -> list[dict[str, Array]]:
    """`count` different inputs of a model: random pictures where it takes bytes, else made-up tensors."""
    draw = np.random.default_rng(0)

    def tensor(dtype: str, shape: tuple[int, ...], fallback: Array) -> Array:
        return draw.integers(0, 256, shape, dtype=np.uint8) if dtype == "uint8" else fallback

    return [
        {spec.name: tensor(spec.dtype, spec.shape, made_up_tensor(spec)) for spec in card.inputs} for _ in range(count)
    ]


def difference(expected: Mapping[str, Array], answered: Mapping[str, Array]) -> float:
    """Largest absolute difference between two sets of outputs; not-a-number where one of them holds that.

    Raises:
        KeyError: an output is missing.
    """
    every = [np.abs(np.subtract(answered[name], array, dtype=np.float64)).max() for name, array in expected.items()]
    return float(np.max(every))
