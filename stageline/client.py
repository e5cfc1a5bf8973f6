"""The submitter: hands requests to the stage line and holds each until its one answer, or one clear error, is there.

    async with Client("mqtt://hub.local", deployment="mobilenet_v2") as client:
        answer = await client.submit("cat.jpg", deadline_s=5)
        print(answer.top(3), answer.receipt)

What to send, when to send again and when to give up is decided in `requests_in_flight`; this file does it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from broker.address import BrokerAddress
from broker.bus import Bus
from broker.channel import PublishRefusedError
from broker.connection import BusError, TooLargeError
from broker.delivery import FrameDelivery
from models.pictures import UnreadablePictureError
from schemas.base import check_name
from schemas.codec import Array
from schemas.frame import FrameHeader
from schemas.model import ModelCard
from schemas.topics import ANSWER, ROOT
from stageline.alarm import Alarm
from stageline.answer_cache import AnswerCache, digest_aside, own_copy, repeated
from stageline.answers import Answers, Attempt, AttemptKey, Listener
from stageline.audit import Audit
from stageline.inputs import Inputs, WrongInputError, check_tensors, must_be_read, to_tensors
from stageline.many import bounded
from stageline.patience import Patience
from stageline.plan_watch import PlanWatch
from stageline.receipts import Answer, Receipt, RequestFailedError, Result
from stageline.requests_in_flight import RequestsInFlight
from stageline.seen import Teller
from stageline.sending import GiveUp, Send
from stageline.wire import send_request

__all__ = ["Answer", "Client", "RequestFailedError", "Result"]

_LOG = logging.getLogger(__name__)
_RECEIVE_MAXIMUM: Final = 20
_REFUSALS: Final[dict[type[Exception], str]] = {
    TooLargeError: "too-large", PublishRefusedError: "not-allowed", WrongInputError: "bad-input",
}  # fmt: skip
"""Why a request cannot be sent at all, now or later."""
_UNANSWERED: Final = frozenset({"deadline", "no-answer"})
"""Reasons behind which there may be another: no plan to replace the one that does not answer."""


@dataclass(slots=True)
class _Pending:
    tensors: dict[str, Array]
    card_sha: str
    accepted_at: float
    deadline: float
    traceparent: str
    result: asyncio.Future[Answer]
    attempts: dict[AttemptKey, Attempt] = field(default_factory=dict)
    sending: asyncio.Task[None] | None = None
    digest: bytes = b""
    """Of the tensors, where the answer is to be cached."""


class Client:
    """Submits to one deployment; use as an async context manager. Any number of requests at a time.

    With `cache`, an input that was answered before is answered from memory (`stageline.answer_cache`): the number of
    answers to keep, or a cache of one's own size; 0 keeps none. Receipts and the audit tell such answers apart.
    """

    def __init__(
        self,
        broker: BrokerAddress | str,
        *,
        deployment: str,
        deadline_s: float = 30.0,
        root: str = ROOT,
        name: str | None = None,
        patience: Patience | None = None,
        connect_timeout_s: float | None = 10.0,
        cache: AnswerCache | int = 0,
    ) -> None:
        self.deployment = check_name("deployment", deployment)
        self.name = check_name("submitter", name or f"client-{secrets.token_hex(6)}")
        self.deadline_s = deadline_s
        self._bus = Bus(
            broker, name=self.name, root=root, receive_maximum=_RECEIVE_MAXIMUM, connect_timeout_s=connect_timeout_s
        )
        self._flight = RequestsInFlight(patience)
        self._watch = PlanWatch(self._bus, self.deployment, self._plan_changed, self._devices_changed)
        self._answers = Answers(
            self.name, self.deployment, Listener(self._attempts, self._answered, self._faulted, self._stray)
        )
        self._teller = Teller(self._bus, self.deployment, self.name, self._flight)
        self._cache = cache if isinstance(cache, AnswerCache) else AnswerCache(cache) if cache else None
        self._pending: dict[str, _Pending] = {}
        self._token = secrets.token_hex(6)
        self._count = 0
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._main: asyncio.Task[None] | None = None
        self._alarm = Alarm(self._flight.next_due, self._act)
        self._why_closed = ("closed", "the client is not open: requests go inside `async with Client(...)`")

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
    def rejected(self) -> Counter[str]:
        """What came as an answer and was none, by reason: kind, deployment, attempt, outputs, tensor, memory."""
        return self._answers.rejections.counts

    @property
    def untold(self) -> Counter[str]:
        """Reports of what its routes do that the planner did not get, by the error; no request minds."""
        return self._teller.untold

    @property
    def window(self) -> int:
        """Requests that the served plan takes at once; 0 while none is served."""
        return self._flight.board.window

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
        if self._cache is None:
            return await self._accept(tensors, card_sha, deadline, traceparent)
        tensors = own_copy(tensors)
        digest = await digest_aside(tensors)
        if (kept := self._cached(digest, card_sha, now)) is not None:
            return kept
        return await self._accept(tensors, card_sha, deadline, traceparent, digest)

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
                return Result(index, item, await self.submit(item, deadline_s=deadline_s), None)
            except (RequestFailedError, WrongInputError, UnreadablePictureError) as error:
                return Result(index, item, None, error)

        places = (lambda: at_once) if at_once else lambda: max(2, 2 * self._flight.board.window)
        async for result in bounded(items, one, places, in_order=in_order):
            yield result

    # --- one request -------------------------------------------------------------------------------------------------
    async def _card(self, now: float, deadline: float) -> tuple[ModelCard, str]:
        """The served model's card and its hash."""
        while self._group is not None and self._watch.served is None:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._watch.changed()
            except TimeoutError:
                waited = f"; waited {deadline - now:.1f} s"
                raise RequestFailedError("no-plan", self._watch.why_no_plan() + waited) from None
        served = self._watch.served
        if self._group is None or served is None:
            raise RequestFailedError(*self._why_closed)
        return served.card, served.plan.card_sha

    def _cached(self, digest: bytes, card_sha: str, since: float) -> Answer | None:
        served = self._watch.served
        if self._cache is None or served is None or served.plan.card_sha != card_sha:
            return None
        kept = self._cache.find(served.plan, digest)
        if kept is None:
            return None
        self._flight.audit.cached += 1
        latency_ms = (asyncio.get_running_loop().time() - since) * 1000
        return repeated(kept, request=self._new_request(), latency_ms=latency_ms)

    def _new_request(self) -> str:
        self._count += 1
        return f"{self._token}-{self._count}"

    async def _accept(
        self, tensors: dict[str, Array], card_sha: str, deadline: float, traceparent: str, digest: bytes = b""
    ) -> Answer:
        loop = asyncio.get_running_loop()
        now = loop.time()
        request = self._new_request()
        pending = _Pending(tensors, card_sha, now, deadline, traceparent, loop.create_future(), digest=digest)
        self._pending[request] = pending
        self._flight.accept(request, now=now, deadline=deadline)
        self._teller.wake()
        try:
            self._act()
            return await pending.result
        finally:
            gone = self._flight.refuse(request, "cancelled", "its submitter stopped waiting", now=loop.time())
            if gone is not None:
                self._fail(gone)

    def _act(self) -> None:
        """Do what is due now; called after every event."""
        now = asyncio.get_running_loop().time()
        for action in self._flight.due(now):
            if isinstance(action, GiveUp):
                self._fail(action)
            else:
                self._start(action, now)
        self._alarm.reconsider()

    def _start(self, send: Send, now: float) -> None:
        pending = self._pending[send.request]
        if pending.sending is not None:
            pending.sending.cancel()  # still held up by an outage: this attempt takes its place
        served = self._watch.served
        if self._group is not None and served is not None:
            attempt = Attempt(send, now, served.card)
            pending.attempts[attempt.key] = attempt
            pending.sending = self._group.create_task(self._send(send, served.card, pending))

    async def _send(self, send: Send, card: ModelCard, pending: _Pending) -> None:
        now = asyncio.get_running_loop().time
        try:
            if send.plan.card_sha != pending.card_sha:  # another model under the same deployment
                check_tensors(card, pending.tensors)
            heard = await send_request(
                self._bus,
                send,
                pending.tensors,
                submitter=self.name,
                budget_ms=max(1.0, (pending.deadline - now()) * 1000),
                traceparent=pending.traceparent,
            )
        except tuple(_REFUSALS) as error:
            gone = self._flight.refuse(send.request, _REFUSALS[type(error)], str(error), now=now(), unsent=True)
            if gone is not None:
                self._fail(gone)
        except BusError as error:
            # The broker is away: the request waits with us, and goes again until its deadline.
            _LOG.warning("%s was not sent: %s", send.request, error)
            self._flight.unheard(send.request, send.attempt, now=now())
        else:
            tell = self._flight.heard if heard else self._flight.unheard
            tell(send.request, send.attempt, now=now())
        self._act()

    def _fail(self, gone: GiveUp) -> None:
        pending = self._pending.pop(gone.request)
        if pending.sending is not None:
            pending.sending.cancel()
        if not pending.result.done():
            pending.result.set_exception(RequestFailedError(gone.reason, self._why(gone), gone.device, gone.sent))

    def _why(self, gone: GiveUp) -> str:
        """What became of a request, and the planner's word where it found no plan: that is what somebody must mend."""
        decision = self._watch.decision
        if gone.reason == "no-plan":
            return f"{self._watch.why_no_plan()}: {gone.detail}"
        if gone.reason in _UNANSWERED and decision is not None and decision.state == "failed":
            return f"{gone.detail}; {self._watch.why_no_plan()}"
        return gone.detail

    # --- answers -----------------------------------------------------------------------------------------------------
    def _attempts(self, request: str) -> dict[AttemptKey, Attempt] | None:
        pending = self._pending.get(request)
        return None if pending is None else pending.attempts

    def _stray(self, header: FrameHeader, now: float) -> None:
        self._flight.answered(header.request, header.attempt, now=now)  # counted there
        self._act()

    def _faulted(self, header: FrameHeader, now: float) -> None:
        if header.fault is not None:
            gone = self._flight.faulted(header.request, header.attempt, header.fault, now=now)
            if gone is not None:
                self._fail(gone)
            self._act()

    def _answered(self, header: FrameHeader, outputs: dict[str, Array], attempt: Attempt, now: float) -> None:
        if self._flight.answered(header.request, header.attempt, now=now):
            pending = self._pending.pop(header.request)
            send = attempt.send
            self._teller.sightings.answered(header.generation, send.route, now - attempt.at)
            receipt = Receipt(
                request=header.request,
                deployment=self.deployment,
                generation=header.generation,
                route=f"r{send.route}: {send.plan.routes[send.route]}",
                attempts=len({one.send.attempt for one in pending.attempts.values()}),
                latency_ms=(now - pending.accepted_at) * 1000,
                held_ms=(attempt.at - pending.accepted_at) * 1000,
                stages=header.trace,
            )
            answer = Answer(header.request, outputs, receipt, attempt.card.labels)
            if self._cache is not None:
                self._cache.keep(send.plan, pending.digest, answer)
            if not pending.result.done():
                pending.result.set_result(answer)
        self._act()

    # --- running -----------------------------------------------------------------------------------------------------
    async def _serve(self, answers: AsyncIterator[FrameDelivery], started: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._answers.run(answers), name="answers")
                group.create_task(self._watch.run(), name="plan")
                group.create_task(self._alarm.run(), name="timers")
                group.create_task(self._teller.run(), name="what is seen")
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
            if (gone := self._flight.refuse(request, *self._why_closed, now=now)) is not None:
                self._fail(gone)
        self._watch.wake()

    def _plan_changed(self) -> None:
        served = self._watch.served
        self._flight.follow(served.plan if served else None, now=asyncio.get_running_loop().time())
        self._act()

    def _devices_changed(self) -> None:
        self._flight.devices(self._watch.held, now=asyncio.get_running_loop().time())
        self._act()
