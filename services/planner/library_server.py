"""Offers the hub's model library on the bus: cards as retained messages, weights in chunks on request."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from broker.bus import Bus
from broker.errors import BrokerUnreachableError, BusError
from broker.rejections import Rejections, clipped
from models.library import Library, MissingBlobError, WrongHashError
from models.stage import BadGraphError
from schemas.model import BlobChunk, BlobRequest, ModelCard
from schemas.topics import BLOB_CHUNK, BLOB_REQUEST, MODEL_CARD
from services.planner.rows_known import RowsKnown, rows_of

logger = logging.getLogger(__name__)

RESCAN_S: Final = 1.0
READS_AT_ONCE: Final = 4
"""Chunks being read or sent at a time: with 1 MiB at most each, what a slow link can make us hold."""

_ROWS_KEPT: Final = 16
"""Models whose rows are known."""

Signature = tuple[tuple[str, int], ...]


class LibraryServer:
    """Keeps `model/*/card` equal to what the library holds, and answers blob requests."""

    def __init__(self, bus: Bus, library: Library) -> None:
        self._bus = bus
        self._library = library
        self._signature: Signature | None = None
        self._scanning = asyncio.Lock()
        self.cards: Mapping[str, ModelCard] = {}
        self._rows: dict[str, RowsKnown | None] = {}
        self._refused = Rejections(logger, "blob not served:")

    async def scan(self) -> None:
        """Bring the cards on the bus up to date, if the library changed since the last look."""
        async with self._scanning:
            signature = await asyncio.to_thread(_signature, self._library.cards_folder)
            if signature == self._signature:
                return
            cards = await asyncio.to_thread(self._library.cards)
            try:
                for name in sorted(self.cards.keys() - cards.keys()):
                    await self._bus.clear(MODEL_CARD, model=name)
                for name, card in sorted(cards.items()):
                    if self.cards.get(name) != card:
                        await self._bus.publish(MODEL_CARD, card, model=name)
            except BrokerUnreachableError as error:
                logger.warning("the library is offered again later: %s", error)
                return
            self.cards, self._signature = cards, signature
        logger.info("library scanned", extra={"models": ", ".join(sorted(cards)) or "none"})

    async def learn_rows(self, card: ModelCard) -> RowsKnown | None:
        """How the rows of a model may be shared among devices; None where they cannot be. Looks once at each card."""
        sha = card.sha256
        if sha not in self._rows:
            found = await asyncio.to_thread(_rows_if_readable, self._library, card)
            self._rows = {**dict(list(self._rows.items())[1 - _ROWS_KEPT :]), sha: found}
        return self._rows[sha]

    def rows(self, card_sha: str) -> RowsKnown | None:
        """The same of a card that was looked at; None of one that was not."""
        return self._rows.get(card_sha)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Look again every second (`stageline import` writes into the directory and tells nobody); tell of changes."""
        told = self.cards
        while True:
            await asyncio.sleep(RESCAN_S)
            await self.scan()
            if self.cards is not told:
                told = self.cards
                changed()

    async def serve(self) -> None:
        """Answer blob requests, on a connection of their own so that weights delay nothing else."""
        slots = asyncio.Semaphore(READS_AT_ONCE)
        async with (
            self._bus.bulk() as bulk,
            bulk.subscribe(BLOB_REQUEST) as requests,
            asyncio.TaskGroup() as answers,
        ):
            async for delivery in requests:
                await slots.acquire()
                model, sha = delivery.parameters["model"], delivery.parameters["sha"]
                answer = answers.create_task(self._answer(bulk, model, sha, delivery.message))
                answer.add_done_callback(lambda _: slots.release())

    async def _answer(self, bulk: Bus, model: str, sha: str, request: BlobRequest) -> None:
        chunk = await asyncio.to_thread(self._read, model, sha, request)
        where = f"{model} to {request.receiver}"
        if chunk.error:
            self._refused.add("refused", where, chunk.error)
        try:
            await bulk.publish(BLOB_CHUNK, chunk, model=model, sha=sha, receiver=request.receiver)
        except BusError as error:
            # The receiver asks again: a chunk that cannot be sent now must not end the hub.
            self._refused.add("not sent", where, str(error))

    def _read(self, model: str, sha: str, request: BlobRequest) -> BlobChunk:
        """One range from disk, or why not. Only blobs that the model's card lists are files of ours."""
        card = self.cards.get(model)
        known = {blob.sha256: blob for blob in (card.graph, *card.blobs)} if card else {}
        if sha not in known:
            have = f"the library has {clipped(', '.join(sorted(self.cards))) or 'no models'}"
            error = f"model {model!r} has no blob {sha[:12]} ({have}); import it on the hub with `stageline import`"
            return BlobChunk(offset=request.offset, total=0, data=b"", error=error)
        data, error = b"", ""
        try:
            with self._library.blobs.path(sha).open("rb") as file:
                file.seek(request.offset)
                data = file.read(request.length)
        except (MissingBlobError, WrongHashError, OSError) as problem:
            error = f"{clipped(str(problem))}; on the hub: `stageline import` {model} again"
        return BlobChunk(offset=request.offset, total=known[sha].nbytes, data=data, error=error)


def _rows_if_readable(library: Library, card: ModelCard) -> RowsKnown | None:
    try:
        return rows_of(card, library.blobs.read(card.graph.sha256))
    except (MissingBlobError, WrongHashError, BadGraphError, OSError) as error:
        logger.warning("%s is planned without sharing rows: %s", card.name, clipped(str(error)))
        return None


def _signature(cards: Path) -> Signature:
    """Changes whenever a card is added, replaced or removed."""
    if not cards.is_dir():
        return ()
    return tuple(sorted((card.name, card.stat().st_mtime_ns) for card in os.scandir(cards) if card.is_file()))
