"""The submitter: hands requests to the stage line and holds each until its one answer, or one clear error, is there.

    async with Client("mqtt://hub.local", deployment="mobilenet_v2") as client:
        answer = await client.submit("cat.jpg", deadline_s=5)
        print(answer.top(3), answer.receipt)

What to send, when to send again and when to give up is decided in `requests_in_flight`; `dispatching` does it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from broker.address import BrokerAddress
from broker.bus import Bus
from models.pictures import UnreadablePictureError
from schemas.base import check_name
from schemas.model import ModelCard
from schemas.topics import ANSWER, ROOT
from stageline.answer_cache import AnswerCache, digest_aside, own_copy, repeated
from stageline.audit import Audit
from stageline.dispatching import Dispatcher
from stageline.inputs import Inputs, WrongInputError, must_be_read, to_tensors
from stageline.many import bounded
from stageline.patience import Patience
from stageline.plan_watch import PlanWatch
from stageline.receipts import Answer, RequestFailedError, Result

__all__ = ["Answer", "Client", "RequestFailedError", "Result"]

_RECEIVE_MAXIMUM: Final = 20


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
        self._cache = cache if isinstance(cache, AnswerCache) else AnswerCache(cache) if cache else None
        self._dispatcher = Dispatcher(
            self._bus, deployment=self.deployment, submitter=self.name, patience=patience, cache=self._cache
        )
        self._stack = AsyncExitStack()
        self._main: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._bus)
            answers = await stack.enter_async_context(self._bus.frames(ANSWER, submitter=self.name))
            await stack.enter_async_context(self._dispatcher.watch)
            started = asyncio.Event()
            self._main = asyncio.create_task(self._dispatcher.run(answers, started), name=f"client {self.name}")
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
        return self._dispatcher.flight.audit

    @property
    def rejected(self) -> Counter[str]:
        """What came as an answer and was none, by reason: kind, deployment, attempt, outputs, tensor, memory."""
        return self._dispatcher.answers.rejections.counts

    @property
    def untold(self) -> Counter[str]:
        """Reports of what its routes do that the planner did not get, by the error; no request minds."""
        return self._dispatcher.teller.untold

    @property
    def window(self) -> int:
        """Requests that the served plan takes at once; 0 while none is served."""
        return self._dispatcher.flight.board.window

    @property
    def watch(self) -> PlanWatch:
        """The plan now served, its model's card and the planner's latest decision."""
        return self._dispatcher.watch

    async def ready(self, deadline_s: float | None = None) -> ModelCard:
        """Wait until a plan is served; returns its model's card.

        Raises:
            RequestFailedError: none within the deadline; quotes the planner.
        """
        loop = asyncio.get_running_loop()
        return (await self._dispatcher.card(loop.time(), loop.time() + (deadline_s or self.deadline_s)))[0]

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
        card, card_sha = await self._dispatcher.card(now, deadline)
        if must_be_read(given):
            tensors = await asyncio.to_thread(to_tensors, card, given)
        else:
            tensors = to_tensors(card, given)
        if self._cache is None:
            return await self._dispatcher.accept(tensors, card_sha, deadline, traceparent)
        tensors = own_copy(tensors)
        digest = await digest_aside(tensors)
        if (kept := self._cached(digest, card_sha, now)) is not None:
            return kept
        return await self._dispatcher.accept(tensors, card_sha, deadline, traceparent, digest)

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

        places = (lambda: at_once) if at_once else lambda: max(2, 2 * self.window)
        async for result in bounded(items, one, places, in_order=in_order):
            yield result

    def _cached(self, digest: bytes, card_sha: str, since: float) -> Answer | None:
        served = self.watch.served
        if self._cache is None or served is None or served.plan.card_sha != card_sha:
            return None
        kept = self._cache.find(served.plan, digest)
        if kept is None:
            return None
        self.audit.cached += 1
        latency_ms = (asyncio.get_running_loop().time() - since) * 1000
        return repeated(kept, request=self._dispatcher.new_request(), latency_ms=latency_ms)
