"""The same client for programs without an event loop: it runs one on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from broker.address import BrokerAddress
from schemas.model import ModelCard
from schemas.topics import ROOT
from stageline.answer_cache import AnswerCache
from stageline.audit import Audit
from stageline.client import Client
from stageline.inputs import Inputs
from stageline.patience import Patience
from stageline.receipts import Answer, Result

R = TypeVar("R")


class SyncClient:
    """`Client` with methods that wait; use as a context manager. May be shared by threads."""

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
        cache: AnswerCache | int = 0,
    ) -> None:
        self._settings: dict[str, Any] = {
            "deployment": deployment, "deadline_s": deadline_s, "root": root, "name": name, "patience": patience,
            "connect_timeout_s": connect_timeout_s, "cache": cache,
        }  # fmt: skip
        self._broker = broker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stageline client", daemon=True)
        self._thread.start()
        try:
            self._client = self._wait(self._open())
        except BaseException:
            self._stop_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait(self._opened.__aexit__(kind, error, trace))
        finally:
            self._client = None
            self._stop_loop()

    @property
    def audit(self) -> Audit:
        """Counts of what was submitted and what became of it."""
        return self._opened.audit

    def ready(self, deadline_s: float | None = None) -> ModelCard:
        """Wait until a plan is served; see `Client.ready`."""
        return self._wait(self._opened.ready(deadline_s))

    def submit(self, given: Inputs, *, deadline_s: float | None = None, traceparent: str = "") -> Answer:
        """Have the model run on `given`; see `Client.submit`."""
        return self._wait(self._opened.submit(given, deadline_s=deadline_s, traceparent=traceparent))

    def submit_many(
        self,
        items: Iterable[Inputs],
        *,
        deadline_s: float | None = None,
        in_order: bool = True,
        at_once: int | None = None,
    ) -> Iterator[Result]:
        """Submit all of `items`; see `Client.submit_many`. `items` is read on the client's thread."""
        results = self._opened.submit_many(items, deadline_s=deadline_s, in_order=in_order, at_once=at_once)
        try:
            while True:
                try:
                    yield self._wait(_next(results))
                except StopAsyncIteration:
                    return
        finally:
            self._wait(results.aclose())

    @property
    def _opened(self) -> Client:
        if self._client is None:
            raise RuntimeError("the client is not open: use it inside `with SyncClient(...)`")
        return self._client

    async def _open(self) -> Client:
        return await Client(self._broker, **self._settings).__aenter__()

    def _wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the client is not open: use it inside `with SyncClient(...)`")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # the caller was interrupted, e.g. by Ctrl-C: nobody waits for it any more
            raise

    def _stop_loop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


async def _next(results: Any) -> Result:
    result: Result = await anext(results)
    return result
