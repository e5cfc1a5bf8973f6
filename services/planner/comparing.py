"""Compares what is served with what was predicted: tells everybody, and has links probed that seem to have changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol

from broker.bus import Bus
from broker.delivery import Delivery
from broker.errors import BrokerUnreachableError
from schemas.accuracy import Accuracy, Seen, StageAccuracy
from schemas.device import Command
from schemas.plan import Plan, Route
from schemas.stages import Timing
from schemas.topics import DEVICE_COMMAND, DEVICE_TIMING, PLAN_ACCURACY, SEEN
from services.planner.accuracy import Ledger
from services.planner.deployments import Deployments
from services.planner.suspicion import Suspicion, how_slow
from services.planner.swallowing import Swallowing

logger = logging.getLogger(__name__)

TELL_S: Final = 1.0
FRAMES_ENOUGH: Final = 30
"""A stage is logged once, after so many frames."""
_WITHIN_S: Final = 5.0
_MOST_WAITING: Final = 1024
"""Submitters times routes that are remembered for a moment."""


class Predictions(Protocol):
    """Who knows what a served plan should do on what is known now (`services.planner.adapting.Adapting`)."""

    def routes_now(self, plan: Plan) -> tuple[Route, ...]:
        """The plan's routes, with what is predicted of them now."""


class Comparing:
    """`run` is its loop."""

    def __init__(self, bus: Bus, deployments: Deployments, predictions: Predictions) -> None:
        self._bus = bus
        self._deployments = deployments
        self._predictions = predictions
        self._ledgers: dict[str, Ledger] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._swallowing: dict[str, Swallowing] = {}
        self._waiting: dict[tuple[str, int, str], tuple[int, float]] = {}
        self._told: dict[str, Accuracy | None] = {}
        self._logged: set[tuple[str, int, str]] = set()

    async def adopt(self) -> None:
        """Know what a planner before us told, so that what is out of date is cleared."""
        for kept in await self._bus.snapshot(PLAN_ACCURACY):
            self._told[kept.parameters["deployment"]] = None

    async def run(self) -> None:
        """Listen and tell, until cancelled."""
        async with (
            self._bus.subscribe(DEVICE_TIMING) as timings,
            self._bus.subscribe(SEEN) as sightings,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._follow_timings(timings), name="timings")
            tasks.create_task(self._follow_sightings(sightings, tasks), name="sightings")
            tasks.create_task(self._keep_telling(), name="accuracy")

    async def _follow_timings(self, timings: AsyncIterator[Delivery[Timing]]) -> None:
        async for delivery in timings:
            if delivery.message.device != delivery.parameters["device"]:
                continue
            for name, plan in self._deployments.serving.items():
                if delivery.message.device in plan.devices:
                    self._swallowing[name] = self._passing(plan).with_timing(delivery.message)
            for name in {stage.deployment for stage in delivery.message.stages}:
                ledger = self._ledger(name)
                if ledger is not None:
                    self._ledgers[name] = ledger.with_timing(delivery.message)

    async def _follow_sightings(self, sightings: AsyncIterator[Delivery[Seen]], tasks: asyncio.TaskGroup) -> None:
        async for delivery in sightings:
            seen, now_s = delivery.message, time.monotonic()
            ledger = self._ledger(seen.deployment)
            mine = delivery.parameters == {"deployment": seen.deployment, "submitter": seen.submitter}
            if ledger is None or seen.generation != ledger.plan.generation or not mine:
                continue
            ledger = self._ledgers[seen.deployment] = ledger.with_seen(seen, now_s)
            passing = self._swallowing[seen.deployment] = self._passing(ledger.plan).with_seen(seen, now_s)
            for device, why in passing.found(now_s).items():
                self._deployments.unfit(seen.deployment, seen.generation, device, why)
            for device in self._suspects(seen, ledger, now_s):
                tasks.create_task(self._probe(device), name=f"probe {device}")

    def _suspects(self, seen: Seen, ledger: Ledger, now_s: float) -> list[str]:
        """Devices whose links are to be probed after a submitter's report."""
        routes = self._predictions.routes_now(ledger.plan)
        due: list[str] = []
        for one in seen.routes:
            if one.route >= len(routes):
                continue
            key = seen.deployment, one.route, seen.submitter
            if key in self._waiting or len(self._waiting) < _MOST_WAITING:
                self._waiting[key] = one.waiting, now_s
            under_way = sum(
                waiting
                for (name, number, _), (waiting, at_s) in self._waiting.items()
                if (name, number) == (seen.deployment, one.route) and now_s - at_s < 2 * TELL_S
            )
            route = routes[one.route]
            slow = how_slow(
                one,
                route,
                explained_ms=ledger.explained_ms(one.route),
                slowness=ledger.slowness(one.route),
                under_way=under_way,
            )
            before = self._suspicions.get(seen.deployment, Suspicion())
            self._suspicions[seen.deployment], devices = before.with_report(
                seen.generation, one.route, slow=slow, devices=route.devices, now_s=now_s
            )
            due += devices
        return list(dict.fromkeys(due))

    async def _probe(self, device: str) -> None:
        fields = {"device": device}
        logger.info("the link of %s is suspected: its route is slow, and its stages are not", device, extra=fields)
        try:
            await self._bus.publish(DEVICE_COMMAND, Command(kind="probe"), device=device, timeout_s=_WITHIN_S)
        except BrokerUnreachableError as error:
            logger.warning("%s was not asked to probe: %s", device, error, extra=fields)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            now_s = time.monotonic()
            self._waiting = {key: one for key, one in self._waiting.items() if now_s - one[1] < 2 * TELL_S}
            with contextlib.suppress(BrokerUnreachableError):  # told in the next round
                for name in (self._told.keys() | self._ledgers.keys()) - self._deployments.serving.keys():
                    await self._bus.clear(PLAN_ACCURACY, timeout_s=_WITHIN_S, deployment=name)
                    for known in (self._told, self._ledgers, self._suspicions, self._swallowing):
                        known.pop(name, None)
                for name in self._deployments.serving:
                    ledger = self._ledger(name)
                    if ledger is not None:
                        await self._tell(ledger.accuracy(now_s))

    async def _tell(self, accuracy: Accuracy) -> None:
        name = accuracy.deployment
        if not (accuracy.stages or accuracy.routes) or accuracy == self._told.get(name):
            return
        await self._bus.publish(PLAN_ACCURACY, accuracy, timeout_s=_WITHIN_S, deployment=name)
        self._told[name] = accuracy
        for stage in accuracy.stages:
            key = (name, accuracy.generation, stage.stage)
            if stage.compute_ms.samples >= FRAMES_ENOUGH and key not in self._logged:
                self._logged = {one for one in self._logged if one[:2] == key[:2] or one[0] != name} | {key}
                where = {"deployment": name, "generation": accuracy.generation, "stage": stage.stage}
                logger.info("%s", said(accuracy, stage), extra=where)

    def _passing(self, plan: Plan) -> Swallowing:
        """What is known of the frames of the plan that is served now."""
        known = self._swallowing.get(plan.deployment)
        return known if known is not None and known.plan.generation == plan.generation else Swallowing(plan)

    def _ledger(self, name: str) -> Ledger | None:
        """Of the plan that is served now; what was measured of the one before is put away."""
        plan = self._deployments.serving.get(name)
        ledger = self._ledgers.get(name)
        if plan is not None and (ledger is None or ledger.plan.generation != plan.generation):
            ledger = self._ledgers[name] = Ledger(plan)
        return ledger if plan is not None else None


def said(accuracy: Accuracy, stage: StageAccuracy) -> str:
    """One stage's comparison, for the log."""
    predicted, measured = stage.compute_ms.predicted, stage.compute_ms.measured
    off = (measured / predicted - 1) if predicted else 0.0
    return (
        f"{accuracy.deployment} g{accuracy.generation} {stage.stage} on {stage.device}: {measured:.2f} ms measured, "
        f"{predicted:.2f} ms predicted ({off:+.0%})"
    )
