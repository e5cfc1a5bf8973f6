"""The submitter: hands requests to the stage line and holds each until its one answer, or one clear error, is there.

    async with Client("mqtt://hub.local", deployment="mobilenet_v2") as client:
        answer = await client.submit("cat.jpg", deadline_s=5)
        print(answer.top(3), answer.receipt)

What to send, when to send again and when to give up is decided in `requests_in_flight`; this file does it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from broker.address import BrokerAddress
from broker.bus import Bus
from broker.connection import BusError, TooLargeError
from broker.delivery import FrameDelivery
from models.pictures import UnreadablePictureError
from schemas.base import check_name
from schemas.codec import Array
from schemas.frame import Frame, FrameHeader
from schemas.model import ModelCard
from schemas.topics import ANSWER, ROOT
from stageline.inputs import LARGE_BYTES, Inputs, WrongInputError, check_tensors, must_be_read, to_tensors
from stageline.many import bounded
from stageline.plan_watch import PlanWatch
from stageline.receipts import Answer, Receipt, RequestFailedError, Result
from stageline.requests_in_flight import Audit, GiveUp, Patience, RequestsInFlight, Send
from stageline.wire import decode_answer, send_request

_LOG = logging.getLogger(__name__)
_RECEIVE_MAXIMUM: Final = 20


@dataclass(slots=True)
class _Pending:
    tensors: dict[str, Array]
    card: ModelCard
    card_sha: str
    accepted_at: float
    deadline: float
    traceparent: str
    result: asyncio.Future[Answer]
    sends: dict[int, tuple[Send, float]] = field(default_factory=dict)
    sending: asyncio.Task[None] | None = None


class Client:
    """Submits to one deployment; use as an async context manager. Any number of requests at a time."""

    def __init__(
        self,
        broker: BrokerAddress | str,
        *,
        deployment: str,
        deadline_s: float = 30.0,
        root: str = ROOT,
        name: str | None = None,
        patience: Patience | None = None,
        connect_timeout_s: float = 10.0,
    ) -> None:
        self.deployment = check_name("deployment", deployment)
        self.name = check_name("submitter", name or f"client-{secrets.token_hex(6)}")
        self.deadline_s = deadline_s
        self.rejected = 0
        """Answers that were malformed: counted, logged, dropped."""
        self._bus = Bus(
            broker, name=self.name, root=root, receive_maximum=_RECEIVE_MAXIMUM, connect_timeout_s=connect_timeout_s
        )
        self._flight = RequestsInFlight(patience)
        self._watch = PlanWatch(self._bus, self.deployment, self._plan_changed, self._devices_changed)
        self._pending: dict[str, _Pending] = {}
        self._count = 0
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._main: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()
        self._next_due = math.inf

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._bus)
            answers = await stack.enter_async_context(self._bus.frames(ANSWER, submitter=self.name))
            await stack.enter_async_context(self._watch)
            started = asyncio.Event()
            self._main = asyncio.create_task(self._serve(answers, started), name=f"client {self.name}")
            await started.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._main is not None:
                self._main.cancel()
                await asyncio.wait([self._main])
        finally:
            await self._stack.aclose()
        if self._main is not None and not self._main.cancelled():
            self._main.result()  # a crash stays a crash

    # --- what callers use --------------------------------------------------------------------------------------------
    @property
    def audit(self) -> Audit:
        """Counts of what was submitted and what became of it."""
        return self._flight.audit

    @property
    def watch(self) -> PlanWatch:
        """The plan now served, its model's card and the planner's latest decision."""
        return self._watch

    async def ready(self, deadline_s: float | None = None) -> ModelCard:
        """Wait until a plan is served; returns its model's card.

        Raises:
            RequestFailedError: none within the deadline; quotes the planner.
        """
        loop = asyncio.get_running_loop()
        return (await self._card(loop.time(), loop.time() + (deadline_s or self.deadline_s)))[0]

    async def submit(self, given: Inputs, *, deadline_s: float | None = None, traceparent: str = "") -> Answer:
        """Have the model run on `given`.

        Args:
            given: arrays by input name (shapes and dtypes as on the card, batch 1), one array for a model with one
                input, or a picture or its path for a model that takes pictures.
            deadline_s: seconds from now; the client's own when not given.
            traceparent: W3C trace context, carried with the request.

        Raises:
            WrongInputError: `given` does not fit the model; nothing was sent.
            models.pictures.UnreadablePictureError: nothing was sent.
            RequestFailedError: no answer, and why.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + (self.deadline_s if deadline_s is None else deadline_s)
        card, card_sha = await self._card(now, deadline)
        if must_be_read(given):
            tensors = await asyncio.to_thread(to_tensors, card, given)
        else:
            tensors = to_tensors(card, given)
        return await self._accept(tensors, card, card_sha, deadline, traceparent)

    async def submit_many(
        self,
        items: Iterable[Inputs] | AsyncIterable[Inputs],
        *,
        deadline_s: float | None = None,
        in_order: bool = True,
        at_once: int | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Submit all of `items`, reading them only as fast as the line takes them. What fails, fails alone.

        Args:
            items: what `submit` takes.
            deadline_s: of each, counted from when it is taken up.
            in_order: yield results in the order of `items`, else as they come.
            at_once: how many to hold at a time; twice the routes' windows when not given, so that the next
                pictures are read while others are on the line.
        """

        async def one(index: int, item: Inputs) -> Result:
            try:
                return Result(index, await self.submit(item, deadline_s=deadline_s), None)
            except (RequestFailedError, WrongInputError, UnreadablePictureError) as error:
                return Result(index, None, error)

        def places() -> int:
            return at_once or max(2, 2 * self._flight.board.window)

        async for result in bounded(items, one, places, in_order=in_order):
            yield result

    # --- one request -------------------------------------------------------------------------------------------------
    async def _card(self, now: float, deadline: float) -> tuple[ModelCard, str]:
        """The served model's card and its hash."""
        while self._watch.served is None:
            self._check_running()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._watch.changed()
            except TimeoutError:
                waited = f"; waited {deadline - now:.1f} s"
                raise RequestFailedError("no-plan", self._watch.why_no_plan() + waited) from None
        self._check_running()
        served = self._watch.served
        return served.card, served.plan.card_sha

    async def _accept(
        self, tensors: dict[str, Array], card: ModelCard, card_sha: str, deadline: float, traceparent: str
    ) -> Answer:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._count += 1
        request = f"{self.name}-{self._count}"
        pending = _Pending(tensors, card, card_sha, now, deadline, traceparent, loop.create_future())
        self._pending[request] = pending
        self._flight.accept(request, now=now, deadline=deadline)
        try:
            self._act()
            return await pending.result
        finally:
            if (gone := self._flight.refuse(request, "cancelled", "its submitter stopped waiting")) is not None:
                self._fail(gone)

    def _act(self) -> None:
        """Do what is due now; called after every event."""
        now = asyncio.get_running_loop().time()
        for action in self._flight.due(now):
            if isinstance(action, GiveUp):
                self._fail(action)
            else:
                self._start(action, now)
        due = self._flight.next_due(now)
        if due is not None and due < self._next_due:
            self._sooner.set()

    def _start(self, send: Send, now: float) -> None:
        pending = self._pending[send.request]
        if pending.sending is not None:
            pending.sending.cancel()  # still held up by an outage: this attempt takes its place
        pending.sends[send.attempt] = (send, now)
        if self._group is not None:
            pending.sending = self._group.create_task(self._send(send, pending))

    async def _send(self, send: Send, pending: _Pending) -> None:
        now = asyncio.get_running_loop().time
        try:
            served = self._watch.served
            if send.plan.card_sha != pending.card_sha and served is not None:
                check_tensors(served.card, pending.tensors)  # another model under the same deployment
            heard = await send_request(
                self._bus,
                send,
                pending.tensors,
                submitter=self.name,
                budget_ms=max(1.0, (pending.deadline - now()) * 1000),
                traceparent=pending.traceparent,
            )
        except (TooLargeError, WrongInputError) as error:
            reason = "too-large" if isinstance(error, TooLargeError) else "bad-input"
            if (gone := self._flight.refuse(send.request, reason, str(error))) is not None:
                self._fail(gone)
        except BusError as error:
            # The broker is away or refuses: the request waits with us, and goes again until its deadline.
            _LOG.warning("%s was not sent: %s", send.request, error)
            self._flight.unheard(send.request, send.attempt, now=now())
        else:
            if heard:
                return
            self._flight.unheard(send.request, send.attempt, now=now())
        self._act()

    def _fail(self, gone: GiveUp) -> None:
        pending = self._pending.pop(gone.request)
        if pending.sending is not None:
            pending.sending.cancel()
        if not pending.result.done():
            detail = f"{self._watch.why_no_plan()}: {gone.detail}" if gone.reason == "no-plan" else gone.detail
            pending.result.set_exception(RequestFailedError(gone.reason, detail, gone.device))

    # --- answers -----------------------------------------------------------------------------------------------------
    async def _receive(self, answers: AsyncIterator[FrameDelivery], group: asyncio.TaskGroup) -> None:
        async for delivery in answers:
            delivery.ack()
            frame = delivery.frame
            header = frame.header
            now = asyncio.get_running_loop().time()
            if header.kind == "error" and header.fault is not None:
                gone = self._flight.faulted(header.request, header.attempt, header.fault, now=now)
                if gone is not None:
                    self._fail(gone)
                self._act()
            elif header.kind == "answer" and frame.nbytes <= LARGE_BYTES:
                self._answered(frame, now, decode_answer(frame))
            elif header.kind == "answer":
                group.create_task(self._decode_aside(frame, now))

    async def _decode_aside(self, frame: Frame, now: float) -> None:
        self._answered(frame, now, await asyncio.to_thread(decode_answer, frame))

    def _answered(self, frame: Frame, now: float, outputs: dict[str, Array] | None) -> None:
        header = frame.header
        pending = self._pending.get(header.request)
        if outputs is None or (pending is not None and not _fits(pending.card, outputs)):
            self.rejected += 1
            return
        if self._flight.answered(header.request, header.attempt, now=now) and pending is not None:
            del self._pending[header.request]
            if not pending.result.done():
                receipt = self._receipt(header, pending, now)
                pending.result.set_result(Answer(header.request, outputs, receipt, pending.card.labels))
        self._act()

    def _receipt(self, header: FrameHeader, pending: _Pending, now: float) -> Receipt:
        send, sent_at = pending.sends.get(header.attempt, next(reversed(pending.sends.values())))
        return Receipt(
            request=header.request,
            deployment=self.deployment,
            generation=header.generation,
            route=f"r{send.route}: {send.plan.routes[send.route]}",
            attempts=len(pending.sends),
            latency_ms=(now - pending.accepted_at) * 1000,
            held_ms=(sent_at - pending.accepted_at) * 1000,
            stages=header.trace,
        )

    # --- running -----------------------------------------------------------------------------------------------------
    async def _serve(self, answers: AsyncIterator[FrameDelivery], started: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._receive(answers, group), name="answers")
                group.create_task(self._watch.run(), name="plan")
                group.create_task(self._keep_time(), name="timers")
                started.set()
        finally:
            self._group = None
            started.set()
            for request in list(self._pending):
                gone = self._flight.refuse(request, "closed", "the client was closed before an answer came")
                if gone is not None:
                    self._fail(gone)
            self._watch.wake()

    def _check_running(self) -> None:
        if self._group is None:
            raise RequestFailedError("closed", "the client is not open: use it inside `async with Client(...)`")

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._sooner.clear()
            due = self._flight.next_due(loop.time())
            self._next_due = math.inf if due is None else due
            try:
                async with asyncio.timeout_at(due):
                    await self._sooner.wait()
            except TimeoutError:
                self._act()

    def _plan_changed(self) -> None:
        served = self._watch.served
        self._flight.follow(served.plan if served else None, now=asyncio.get_running_loop().time())
        self._act()

    def _devices_changed(self) -> None:
        self._flight.devices(self._watch.held, now=asyncio.get_running_loop().time())
        self._act()


def _fits(card: ModelCard, outputs: dict[str, Array]) -> bool:
    return outputs.keys() >= {spec.name for spec in card.outputs}
