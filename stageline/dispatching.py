"""Does what is decided of requests: sends them, hands answers to whoever awaits them, and fails what has failed.

What to send, when to send again and when to give up is decided in `requests_in_flight`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Final

from broker.bus import Bus
from broker.delivery import FrameDelivery
from broker.errors import BusError, PublishRefusedError, TooLargeError
from models.rows.chain import RowsError
from schemas.codec import Array
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard
from stageline.alarm import Alarm
from stageline.answer_cache import AnswerCache
from stageline.answers import Answers, Attempt, AttemptKey, Listener
from stageline.inputs import WrongInputError, check_tensors
from stageline.patience import Patience
from stageline.pending import Pending
from stageline.plan_watch import PlanWatch
from stageline.receipts import Answer, RequestFailedError
from stageline.requests_in_flight import RequestsInFlight
from stageline.seen import Teller
from stageline.sending import GiveUp, Send
from stageline.wire import Reached, send_request

_LOG = logging.getLogger(__name__)
_REFUSALS: Final[dict[type[Exception], str]] = {
    TooLargeError: "too-large", PublishRefusedError: "not-allowed", WrongInputError: "bad-input",
    RowsError: "bad-input",
}  # fmt: skip
"""Why a request cannot be sent at all, now or later."""


class Dispatcher:
    """All requests of one submitter to one deployment. `run` is its loop; the bus and `watch` are open before it."""

    def __init__(
        self, bus: Bus, *, deployment: str, submitter: str, patience: Patience | None, cache: AnswerCache | None
    ) -> None:
        self.flight = RequestsInFlight(patience)
        self.watch = PlanWatch(bus, deployment, self._plan_changed, self._devices_changed)
        self.answers = Answers(
            submitter, deployment, Listener(self._attempts, self._answered, self._faulted, self._stray)
        )
        self.teller = Teller(bus, deployment, submitter, self.flight)
        self._bus = bus
        self._submitter = submitter
        self._cache = cache
        self._pending: dict[str, Pending] = {}
        self._token = secrets.token_hex(6)
        self._count = 0
        self._group: asyncio.TaskGroup | None = None
        self._alarm = Alarm(self.flight.next_due, self._act)
        self._why_closed = ("closed", "the client is not open: requests go inside `async with Client(...)`")

    # --- one request -------------------------------------------------------------------------------------------------
    async def card(self, now: float, deadline: float) -> tuple[ModelCard, str]:
        """The served model's card and its hash.

        Raises:
            RequestFailedError: none is served by the deadline, or the client is closed.
        """
        while self._group is not None and self.watch.served is None:
            try:
                async with asyncio.timeout_at(deadline):
                    await self.watch.changed()
            except TimeoutError:
                waited = f"; waited {deadline - now:.1f} s"
                raise RequestFailedError("no-plan", self.watch.why_no_plan() + waited) from None
        served = self.watch.served
        if self._group is None or served is None:
            raise RequestFailedError(*self._why_closed)
        return served.card, served.plan.card_sha

    def new_request(self) -> str:
        """An id that no other request has."""
        self._count += 1
        return f"{self._token}-{self._count}"

    async def accept(
        self, tensors: dict[str, Array], card_sha: str, deadline: float, traceparent: str, digest: bytes = b""
    ) -> Answer:
        """Hold a request until its one result.

        Raises:
            RequestFailedError: no answer, and why.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        request = self.new_request()
        pending = Pending(tensors, card_sha, now, deadline, traceparent, loop.create_future(), digest=digest)
        self._pending[request] = pending
        self.flight.accept(request, now=now, deadline=deadline)
        self.teller.wake()
        try:
            self._act()
            return await pending.result
        finally:
            gone = self.flight.refuse(request, "cancelled", "its submitter stopped waiting", now=loop.time())
            if gone is not None:
                self._fail(gone)

    def _act(self) -> None:
        """Do what is due now; called after every event."""
        now = asyncio.get_running_loop().time()
        for action in self.flight.due(now):
            if isinstance(action, GiveUp):
                self._fail(action)
            else:
                self._start(action, now)
        self._alarm.reconsider()

    def _start(self, send: Send, now: float) -> None:
        pending = self._pending[send.request]
        pending.stop_sending()  # still held up by an outage: this attempt takes its place
        served = self.watch.served
        if self._group is not None and served is not None:
            attempt = Attempt(send, now, served.card)
            pending.attempts[attempt.key] = attempt
            pending.sending = self._group.create_task(self._send(send, served.card, pending))

    async def _send(self, send: Send, card: ModelCard, pending: Pending) -> None:
        now = asyncio.get_running_loop().time
        try:
            if send.plan.card_sha != pending.card_sha:  # another model under the same deployment
                check_tensors(card, pending.tensors)
            reached = await send_request(
                self._bus,
                send,
                pending.tensors,
                card=card,
                submitter=self._submitter,
                budget_ms=max(1.0, (pending.deadline - now()) * 1000),
                traceparent=pending.traceparent,
            )
        except tuple(_REFUSALS) as error:
            gone = self.flight.refuse(send.request, _REFUSALS[type(error)], str(error), now=now(), unsent=True)
            if gone is not None:
                self._fail(gone)
        except BusError as error:
            # The broker is away: the request waits with us, and goes again until its deadline.
            _LOG.warning("%s was not sent: %s", send.request, error)
            self.flight.unheard(send.request, send.attempt, now=now())
        else:
            self._sent(send, reached, now())
        self._act()

    def _sent(self, send: Send, reached: Reached, now: float) -> None:
        if reached.partly:
            gone = self.flight.partly_heard(send.request, send.attempt, now=now)
            if gone is not None:
                self._fail(gone)
        else:
            tell = self.flight.heard if reached.fully else self.flight.unheard
            tell(send.request, send.attempt, now=now)

    def _fail(self, gone: GiveUp) -> None:
        pending = self._pending.pop(gone.request)
        pending.stop_sending()
        pending.fail(RequestFailedError(gone.reason, self.watch.why_failed(gone), gone.device, gone.sent))

    # --- answers -----------------------------------------------------------------------------------------------------
    def _attempts(self, request: str) -> dict[AttemptKey, Attempt] | None:
        pending = self._pending.get(request)
        return None if pending is None else pending.attempts

    def _stray(self, header: FrameHeader, now: float) -> None:
        early = bool(header.exit)
        self.flight.answered(header.request, header.attempt, now=now, whole=not early, early=early)  # counted there
        self._act()

    def _faulted(self, header: FrameHeader, now: float) -> None:
        if header.fault is not None:
            gone = self.flight.faulted(header.request, header.attempt, header.fault, now=now)
            if gone is not None:
                self._fail(gone)
            self._act()

    def _answered(self, header: FrameHeader, outputs: dict[str, Array], attempt: Attempt, now: float) -> None:
        whole, early = _went_all_the_way(header, attempt), bool(header.exit)
        if self.flight.answered(header.request, header.attempt, now=now, whole=whole, early=early):
            pending = self._pending.pop(header.request)
            self.teller.sightings.answered(header.generation, attempt.send.route, now - attempt.at, early=early)
            answer = pending.answer(header, outputs, attempt, now)
            if self._cache is not None:
                self._cache.keep(attempt.send.plan, pending.digest, answer)
            pending.resolve(answer)
        self._act()

    # --- running -----------------------------------------------------------------------------------------------------
    async def run(self, answers: AsyncIterator[FrameDelivery], started: asyncio.Event) -> None:
        """Serve until cancelled; `started` is set when requests are taken, or never will be."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self.answers.run(answers), name="answers")
                group.create_task(self.watch.run(), name="plan")
                group.create_task(self._alarm.run(), name="timers")
                group.create_task(self.teller.run(), name="what is seen")
                started.set()
        except BaseException as error:
            self._end(started, error)
            raise

    def _end(self, started: asyncio.Event, error: BaseException) -> None:
        """Nobody waits for ever: what is open fails, with the reason when the client broke down."""
        self._group = None
        started.set()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, asyncio.CancelledError):
            self._why_closed = ("client-failed", str(error))
        now = asyncio.get_running_loop().time()
        for request in list(self._pending):
            if (gone := self.flight.refuse(request, *self._why_closed, now=now)) is not None:
                self._fail(gone)
        self.watch.wake()

    def _plan_changed(self) -> None:
        served = self.watch.served
        self.flight.follow(served.plan if served else None, now=asyncio.get_running_loop().time())
        self._act()

    def _devices_changed(self) -> None:
        self.flight.devices(self.watch.held, now=asyncio.get_running_loop().time())
        self._act()


def _went_all_the_way(header: FrameHeader, attempt: Attempt) -> bool:
    """Whether the last stage of its route had a part in an answer."""
    last = attempt.send.plan.routes[attempt.send.route].stages[-1]
    return not header.exit or (bool(header.trace) and header.trace[-1].first >= last.first)
