"""Blobs from the hub's library over the bus: in chunks, resumable, on a connection of their own.

Nobody pushes: the worker asks for a few ranges at a time, so a transfer takes what the link has to spare and never
fills a queue that control messages or frames wait in. What has arrived is on disk, so a restart goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from broker.bus import BrokerUnreachableError, PublishRefusedError
from models.library import BlobStore, WrongHashError
from schemas.model import Blob, BlobChunk, BlobRequest
from schemas.topics import BLOB_CHUNK, BLOB_REQUEST

logger = logging.getLogger(__name__)

R = TypeVar("R")

CHUNK_BYTES: Final = 256 * 1024
_ENVELOPE_BYTES: Final = 1024
"""What a chunk's packet has besides its data, generously."""
OUTSTANDING: Final = 4
"""Ranges asked for and not yet here, over all blobs: about a megabyte on its way."""
BLOBS_AT_ONCE: Final = 4
TIMEOUT_S: Final = 4.0
LONGEST_TIMEOUT_S: Final = 60.0
WRONG_HASHES: Final = 3
"""How often a blob may arrive damaged before it is given up."""


class FetchError(Exception):
    """A blob that cannot be had; the message says why and what to do."""


class BulkLink(Protocol):
    """The part of the bulk connection that fetching needs: `broker.bus.Bus` has it."""

    @property
    def max_packet_bytes(self) -> int:
        """The largest packet that the broker passes."""

    async def publish(self, topic: Any, message: Any, **parameters: str | int) -> Any:
        """Publish one message; returns when the broker has it."""


@dataclass
class _Transfer:
    """One blob on its way; several stages may wait for it."""

    task: asyncio.Task[None]
    waiting: int = 0
    listeners: list[Callable[[int], None]] = field(default_factory=list)


class Fetcher:
    """Gets blobs into the store. `run` drives it; `fetch` may be called by many at once."""

    def __init__(self, open_link: Callable[[], Any], store: BlobStore, receiver: str) -> None:
        """`open_link()` is an async context manager that yields the bulk connection; opened at the first need."""
        self._open_link = open_link
        self._store = store
        self._receiver = receiver
        self._needed = asyncio.Event()
        self._link: asyncio.Future[BulkLink] | None = None
        self._transfers: dict[str, _Transfer] = {}
        self._expected: dict[tuple[str, int], asyncio.Future[BlobChunk]] = {}
        self._window = asyncio.Semaphore(OUTSTANDING)
        self._blobs_at_once = asyncio.Semaphore(BLOBS_AT_ONCE)

    async def run(self) -> None:
        """Open the bulk connection when something is first asked for, and take in chunks until cancelled."""
        await self._needed.wait()
        while True:
            try:
                async with self._open_link() as link, link.subscribe(BLOB_CHUNK, receiver=self._receiver) as chunks:
                    self._future_link().set_result(link)
                    async for delivery in chunks:
                        future = self._expected.get((delivery.parameters["sha"], delivery.message.offset))
                        if future is not None and not future.done():
                            future.set_result(delivery.message)
                        else:
                            link.dropped("unasked", delivery.address, "nobody waits for this part of a blob (any more)")
            except BrokerUnreachableError as error:
                logger.warning("no connection for blobs yet: %s", error)

    async def fetch(self, model: str, blobs: Iterable[Blob], progress: Callable[[float], None]) -> None:
        """Have all `blobs` in the store.

        Waits for as long as the hub stays away: it may be restarting, and whoever asked can cancel.

        Args:
            model: whose blobs these are (they are asked for under its name).
            blobs: those present already cost nothing.
            progress: called with the share of the missing bytes that has come, 0 to 1.

        Raises:
            FetchError: the hub does not have a blob, or sends it damaged again and again.
            models.library.StoreFullError: the cache cannot hold it; says how much is missing.
            OSError: the cache cannot be written for another reason.
        """
        missing = [blob for blob in blobs if not self._store.has(blob.sha256)]
        total = sum(blob.nbytes for blob in missing) or 1
        got = dict.fromkeys((blob.sha256 for blob in missing), 0)

        def came(sha: str, nbytes: int) -> None:
            got[sha] = nbytes
            progress(min(1.0, sum(got.values()) / total))

        try:
            async with asyncio.TaskGroup() as group:
                for blob in missing:
                    group.create_task(self._shared(model, blob, partial(came, blob.sha256)))
        except* (FetchError, OSError) as failures:
            raise failures.exceptions[0] from None

    async def _shared(self, model: str, blob: Blob, listener: Callable[[int], None]) -> None:
        """Wait for a blob; whoever comes second joins the transfer that is under way."""
        while (transfer := self._transfers.get(blob.sha256)) is not None and transfer.task.cancelling():
            await asyncio.wait([transfer.task])
        if transfer is None:
            listeners: list[Callable[[int], None]] = []
            task = asyncio.create_task(self._transfer(model, blob, listeners))
            transfer = self._transfers[blob.sha256] = _Transfer(task, listeners=listeners)
            task.add_done_callback(partial(self._ended, blob.sha256))
        transfer.waiting += 1
        transfer.listeners.append(listener)
        try:
            await asyncio.shield(transfer.task)
        finally:
            transfer.waiting -= 1
            transfer.listeners.remove(listener)
            if transfer.waiting == 0:
                transfer.task.cancel()

    def _ended(self, sha: str, task: asyncio.Task[None]) -> None:
        del self._transfers[sha]
        if not task.cancelled():
            task.exception()  # whoever waits has it; without anybody it is of no interest

    async def _transfer(self, model: str, blob: Blob, listeners: list[Callable[[int], None]]) -> None:
        async with self._blobs_at_once:
            for attempt in range(1, WRONG_HASHES + 1):
                try:
                    await self._once(model, blob, listeners)
                except WrongHashError:
                    logger.warning("blob came damaged", extra={"sha": blob.sha256, "attempt": attempt})
                else:
                    return
        raise FetchError(
            f"blob {blob.sha256[:12]} of {model} came damaged {WRONG_HASHES} times: the copy in the hub's library "
            f"is likely wrong; import the model there again (stageline import)"
        )

    async def _once(self, model: str, blob: Blob, listeners: list[Callable[[int], None]]) -> None:
        under_way: deque[asyncio.Task[bytes]] = deque()
        link = await asyncio.shield(self._future_link())
        most = min(CHUNK_BYTES, link.max_packet_bytes - _ENVELOPE_BYTES)
        with await _in_thread(self._store.partial, blob) as file:
            asked = file.offset
            try:
                while file.offset < blob.nbytes:
                    while len(under_way) < OUTSTANDING and asked < blob.nbytes:
                        length = min(most, blob.nbytes - asked)
                        under_way.append(asyncio.create_task(self._range(link, model, blob, asked, length)))
                        asked += length
                    data = await under_way.popleft()
                    await _in_thread(file.append, data)
                    for listener in listeners:
                        listener(file.offset)
                await _in_thread(file.finish)
            finally:
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    async def _range(self, link: BulkLink, model: str, blob: Blob, offset: int, length: int) -> bytes:
        async with self._window:
            timeout_s = TIMEOUT_S
            while True:
                future: asyncio.Future[BlobChunk] = asyncio.get_running_loop().create_future()
                self._expected[blob.sha256, offset] = future
                try:
                    request = BlobRequest(receiver=self._receiver, offset=offset, length=length)
                    await link.publish(BLOB_REQUEST, request, model=model, sha=blob.sha256)
                    chunk = await asyncio.wait_for(future, timeout_s)
                except PublishRefusedError as error:
                    raise FetchError(f"blob {blob.sha256[:12]} of {model} cannot be asked for: {error}") from error
                except (TimeoutError, BrokerUnreachableError):
                    timeout_s = min(LONGEST_TIMEOUT_S, timeout_s * 2)
                    logger.info("no chunk yet; asking again", extra={"sha": blob.sha256, "offset": offset})
                    continue
                finally:
                    self._expected.pop((blob.sha256, offset), None)
                if chunk.error:
                    raise FetchError(f"the hub cannot send blob {blob.sha256[:12]} of {model}: {chunk.error}")
                if chunk.total != blob.nbytes or len(chunk.data) != length:
                    raise FetchError(
                        f"the hub's blob {blob.sha256[:12]} of {model} has {chunk.total} bytes, the card says "
                        f"{blob.nbytes}: import the model there again (stageline import)"
                    )
                return chunk.data

    def _future_link(self) -> asyncio.Future[BulkLink]:
        self._needed.set()
        if self._link is None:
            self._link = asyncio.get_running_loop().create_future()
        return self._link


async def _in_thread(job: Callable[..., R], *arguments: object) -> R:
    """Run file work off the loop; on cancellation it is waited for, so that nobody else opens a file it writes to."""
    future = asyncio.get_running_loop().run_in_executor(None, partial(job, *arguments))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
