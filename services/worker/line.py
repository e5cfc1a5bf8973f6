"""The line: frames in, one at a time through the compute thread, results out.

Everything on the event loop here is short. While the compute thread computes, the loop sends what is done and takes in
what comes. How many frames of a stage wait here is bounded by the bus's receive maximum: a frame is acknowledged when
its result was handed on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from broker.bus import Bus, BusError, FrameDelivery
from schemas.frame import Frame
from schemas.frame_header import remaining_budget_ms
from schemas.topics import STAGE
from services.worker.assignments import StageKey
from services.worker.compute import ComputeThread
from services.worker.energy import UNKNOWN, Watts
from services.worker.joining import Joined, Joiner
from services.worker.lane import Lane, check
from services.worker.refused import RefusedError
from services.worker.results import Results, not_listening
from services.worker.stage_work import Done, expiry_s, process
from services.worker.timing import Timings

_POLL_S: Final = 0.02
_LOOK_AT_BANDS_S: Final = 1.0


class Traffic:
    """What passes through one stage now; tells when it has fallen quiet."""

    def __init__(self) -> None:
        self.frames = 0
        """Taken in so far."""
        self.in_flight = 0
        self.last_frame_s = 0.0
        """`time.monotonic()` of the latest frame taken in."""


@dataclass(frozen=True, slots=True)
class _Joining:
    """A stage that joins bands, as it is served."""

    lane: Lane
    traffic: Traffic
    joiner: Joiner


@dataclass(frozen=True, slots=True)
class Beside:
    """Frames of other stages: taken in so far, and of these not yet handed on."""

    frames: int
    in_flight: int


class Line:
    """Moves the frames of all stages of one worker. Use as an async context manager."""

    def __init__(self, bus: Bus, device: str, timings: Timings) -> None:
        self._bus = bus
        self._device = device
        self._timings = timings
        self._total = Traffic()
        self._stages = 0
        self._joining: dict[StageKey, _Joining] = {}
        """Stages here that join bands: one that is computed here needs no broker to get there."""
        self._watts: Watts = UNKNOWN
        self._results = Results(bus, device, timings)
        self._compute = ComputeThread()

    async def __aenter__(self) -> Self:
        self._compute.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compute.stop()

    @property
    def queue_depth(self) -> int:
        """Frames taken in and not yet handed on."""
        return self._total.in_flight

    @property
    def stuck_s(self) -> float:
        """How long the compute thread has been at its present step; 0 when it waits for work."""
        return self._compute.stuck_s

    def beside(self, own: Traffic) -> Beside:
        """What all stages but that one have moved so far, and move now."""
        return Beside(self._total.frames - own.frames, self._total.in_flight - own.in_flight)

    def charge(self, watts: Watts) -> None:
        """From now on, energy in traces is computed from this."""
        self._watts = watts

    async def serve(self, lane: Lane, traffic: Traffic, subscribed: Callable[[], None]) -> None:
        """Take in the frames of one stage until cancelled; `subscribed` is called once the broker delivers them.

        Cancelling gives up what is in flight: wait until `traffic` is quiet first.
        """
        key = lane.assignment.key
        where: dict[str, str | int] = {
            "deployment": key.deployment,
            "generation": key.generation,
            "device": self._device,
            "stage": key.stage,
        }
        joiner = Joiner(self._timings.rejected) if lane.parts else None
        async with self._bus.frames(STAGE, **where) as deliveries, asyncio.TaskGroup() as frames:
            self._stages += 1
            subscribed()
            tidying = frames.create_task(_keep_expiring(joiner)) if joiner else None
            if joiner is not None:
                self._joining[key] = _Joining(lane, traffic, joiner)
            try:
                async for delivery in deliveries:
                    frames.create_task(self._through(lane, traffic, delivery, joiner))
            finally:
                self._stages -= 1
                self._joining.pop(key, None)
                if tidying is not None:
                    tidying.cancel()

    async def settled(self, quiet_s: float, within_s: float) -> None:
        """Wait until no frame has come or been under way for `quiet_s`, at most `within_s`; not at all without stages.

        For a worker that has said that it leaves: whoever has not heard of it yet still sends frames.
        """
        started = time.monotonic()
        while self._stages and time.monotonic() - started < within_s:
            quiet_since = max(started, self._total.last_frame_s)
            if self._total.in_flight == 0 and time.monotonic() - quiet_since >= quiet_s:
                return
            await asyncio.sleep(_POLL_S)

    async def barrier(self) -> None:
        """Wait until nothing computes that began before; what was cancelled and had not begun never will."""
        await self._compute.run(_nothing())

    async def _through(self, lane: Lane, traffic: Traffic, delivery: FrameDelivery, joiner: Joiner | None) -> None:
        for counts in (traffic, self._total):
            counts.frames += 1
            counts.in_flight += 1
            counts.last_frame_s = delivery.received_at
        header = delivery.frame.header
        try:
            check(lane, header)
            here = lane.assignment
            frame = delivery.frame if joiner is None else _taken(joiner, delivery)
            if frame is None:
                return  # it waits for the other bands
            work = self._work_on(lane, frame, delivery)
            done = await self._compute.run(work, owner=here.key.deployment, weight=here.weight, together=here.together)
            self._timings.record(here.key, done.trace, met=done.met, left=done.header.exit)
            await self._hand_on(lane, done)
        except RefusedError as refused:
            await self._results.refuse(lane, header, refused)
        except BusError as error:
            self._results.lost("unsent", lane, header, error)
        except Exception as error:
            # A bug of ours: this request is told, the log shows it, and all others are served.
            why = f"stage {lane.assignment.key}: {type(error).__name__}: {error}"
            await self._results.refuse(lane, header, RefusedError("stage-failed", why), bug=error)
        finally:
            for counts in (traffic, self._total):
                counts.in_flight -= 1
            delivery.ack()

    def _work_on(self, lane: Lane, frame: Frame | Joined, delivery: FrameDelivery) -> Generator[None, None, Done]:
        waited_ms = (time.monotonic() - delivery.received_at) * 1000.0
        return (yield from process(lane, frame, waited_ms, delivery.expiry_s, self._watts))

    async def _hand_on(self, lane: Lane, done: Done) -> None:
        if done.handed is None:
            await self._results.send(lane, done)
            return
        here = lane.assignment
        joining = self._joining.get(replace(here.key, stage=here.next_stage or ""))
        if joining is None:
            raise not_listening(here)
        # The frame that it was made of is acknowledged after it.
        left_s = expiry_s(done.header.budget_ms)
        delivery = FrameDelivery(done.handed, {}, left_s, time.monotonic(), _nobody_waits)
        await self._through(joining.lane, joining.traffic, delivery, joining.joiner)


def _nobody_waits() -> None:
    """No broker holds anything back for this one."""


def _taken(joiner: Joiner, delivery: FrameDelivery) -> Joined | None:
    """All bands of a request, where this was the last of them."""
    budget_ms = remaining_budget_ms(delivery.frame.header, 0.0, delivery.expiry_s)
    return joiner.take(delivery.frame, now_s=delivery.received_at, budget_ms=budget_ms)


async def _keep_expiring(joiner: Joiner) -> None:
    """What waits for bands that never come is let go, also where nothing comes any more."""
    while True:
        await asyncio.sleep(_LOOK_AT_BANDS_S)
        joiner.expire(time.monotonic())


def _nothing() -> Generator[None, None, None]:
    """A job of one empty step: when it is done, what was under way before it is too."""
    yield
