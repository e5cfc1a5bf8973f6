"""What goes out: results to the next stage or to whoever asked, faults to whoever asked. Nothing is lost in silence."""

from __future__ import annotations

import logging

from broker.bus import Bus, BusError, PublishRefusedError, TooLargeError
from broker.rejections import Rejections
from schemas.frame_header import FrameHeader
from schemas.topics import ANSWER, STAGE
from services.worker.assignments import Assignment
from services.worker.lane import Lane
from services.worker.refused import RefusedError, fault_payload
from services.worker.stage_work import Done, expiry_s
from services.worker.timing import Timings

logger = logging.getLogger(__name__)


class Results:
    """Sends what the stages of one worker give."""

    def __init__(self, bus: Bus, device: str, timings: Timings) -> None:
        self._bus = bus
        self._device = device
        self._timings = timings
        self._refused = Rejections(logger, "frame refused:")
        self._undelivered = Rejections(logger, "result not delivered:")

    async def send(self, lane: Lane, done: Done) -> None:
        """To the next stage, or to the submitter where there is none or the request is answered.

        Raises:
            RefusedError: the broker does not pass it, or nobody listens where it should go.
            broker.bus.BusError: it did not get through.
        """
        here = lane.assignment
        try:
            if done.header.kind == "answer" or here.next_device is None or here.next_stage is None:
                await self._answer(lane, done.header, done.payload)
                return
            heard = await self._bus.send_frame(
                STAGE,
                done.payload,
                expiry_s=expiry_s(done.header.budget_ms),
                correlation=done.header.request,
                response_address=self._bus.full_address(ANSWER, submitter=done.header.submitter),
                traceparent=done.header.traceparent or None,
                deployment=here.key.deployment,
                generation=here.key.generation,
                device=here.next_device,
                stage=here.next_stage,
            )
        except TooLargeError as error:
            raise RefusedError("too-large", str(error)) from error
        except PublishRefusedError as error:
            raise RefusedError("stage-failed", str(error)) from error
        if not heard:
            raise not_listening(here)

    async def refuse(
        self, lane: Lane, header: FrameHeader, refused: RefusedError, bug: Exception | None = None
    ) -> None:
        """Count and log it, and tell the submitter why there is no answer; with a `bug` of ours the log says where."""
        self._timings.rejected[refused.code] += 1
        reason = f"bug {type(bug).__name__}" if bug else refused.code
        where = f"request {header.request} at {lane.assignment.key}"
        self._refused.add(reason, where, str(refused), bug=bug, fields=_fields(lane, header))
        try:
            await self._answer(lane, header, fault_payload(self._device, header, refused))
        except BusError as error:
            self.lost("unsent", lane, header, error)

    def lost(self, reason: str, lane: Lane, header: FrameHeader, detail: object) -> None:
        """Count and log a result that reached nobody."""
        # The submitter still holds the input and sends it again: nothing is lost but this attempt.
        self._timings.rejected[reason] += 1
        where = f"request {header.request} of {header.submitter}"
        self._undelivered.add(reason, where, str(detail), fields=_fields(lane, header))

    async def _answer(self, lane: Lane, header: FrameHeader, payload: bytes) -> None:
        heard = await self._bus.send_frame(
            ANSWER,
            payload,
            expiry_s=expiry_s(header.budget_ms),
            correlation=header.request,
            traceparent=header.traceparent or None,
            submitter=header.submitter,
        )
        if not heard:
            self.lost("unheard", lane, header, "the submitter no longer listens")


def not_listening(here: Assignment) -> RefusedError:
    """Where a result should go nobody waits for it any more."""
    return RefusedError(
        "draining",
        f"{here.next_device} does not listen for stage {here.next_stage} of {here.key.deployment} "
        f"generation {here.key.generation} any more: submit again on the current plan",
    )


def _fields(lane: Lane, header: FrameHeader) -> dict[str, object]:
    """What a log line about a frame carries (`services.lifecycle`)."""
    return {
        "request": header.request,
        "submitter": header.submitter,
        "attempt": header.attempt,
        **lane.assignment.key.fields,
    }
