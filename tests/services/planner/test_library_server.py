"""The model library on the bus: cards as they are on disk, weights in chunks, clear refusals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from broker.bus import Bus
from models.library import Library
from schemas.model import BlobChunk, BlobRequest
from schemas.topics import BLOB_CHUNK, BLOB_REQUEST, MODEL_CARD
from services.planner.library_server import LibraryServer

if TYPE_CHECKING:
    from tests.services.planner.house import House


@contextlib.asynccontextmanager
async def offered(bus: Bus, library: Library) -> AsyncIterator[LibraryServer]:
    server = LibraryServer(bus, library)
    await server.scan()
    task = asyncio.create_task(server.serve())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def ask(bus: Bus, model: str, sha: str, *, offset: int = 0, length: int = 1 << 18) -> BlobChunk:
    """Ask until somebody answers: a request that nobody listens to yet is not kept."""
    async with bus.subscribe(BLOB_CHUNK, model=model, sha=sha, receiver="pi") as chunks, asyncio.timeout(15):
        request = BlobRequest(receiver="pi", offset=offset, length=length)
        while not await bus.publish(BLOB_REQUEST, request, model=model, sha=sha):  # noqa: ASYNC110 - the broker counts
            await asyncio.sleep(0.01)
        return (await anext(chunks)).message


async def test_a_blob_comes_in_chunks_that_add_up_to_it(house: House) -> None:
    card = house.import_model(weight_bytes=700_000)
    blob = card.blobs[1]
    async with offered(house.bus, house.library):
        chunks = [await ask(house.bus, "net", blob.sha256, offset=offset) for offset in range(0, blob.nbytes, 1 << 18)]
    assert [chunk.offset for chunk in chunks] == [0, 1 << 18, 2 << 18]
    assert {chunk.total for chunk in chunks} == {blob.nbytes}
    assert b"".join(chunk.data for chunk in chunks) == house.library.blobs.read(blob.sha256)


async def test_many_may_ask_at_once(house: House) -> None:
    card = house.import_model(weight_bytes=100_000)
    async with offered(house.bus, house.library):
        blobs = [card.graph, *card.blobs] * 4
        chunks = await asyncio.gather(*(ask(house.bus, "net", blob.sha256) for blob in blobs))
    assert [len(chunk.data) for chunk in chunks] == [blob.nbytes for blob in blobs]


@pytest.mark.parametrize(("model", "sha"), [("net", "f" * 64), ("unknown", "f" * 64), ("net", "passwd")])
async def test_a_blob_that_no_card_lists_is_refused_with_what_to_do(house: House, model: str, sha: str) -> None:
    house.import_model()
    (house.library.blobs.root / "passwd").write_bytes(b"secret")
    async with offered(house.bus, house.library):
        chunk = await ask(house.bus, model, sha)
    assert chunk.data == b""
    assert "the library has net" in chunk.error
    assert "stageline import" in chunk.error


async def test_a_blob_that_is_damaged_or_gone_is_refused_and_the_next_is_served(house: House) -> None:
    card = house.import_model()
    damaged, gone, good = (blob.sha256 for blob in card.blobs[:3])
    (house.library.blobs.root / damaged).write_bytes(b"other bytes")
    (house.library.blobs.root / gone).unlink()
    async with offered(house.bus, house.library):
        assert "stageline import" in (await ask(house.bus, "net", damaged)).error
        assert "stageline import" in (await ask(house.bus, "net", gone)).error
        assert (await ask(house.bus, "net", good)).error == ""


async def test_a_range_beyond_the_end_is_empty(house: House) -> None:
    card = house.import_model()
    async with offered(house.bus, house.library):
        chunk = await ask(house.bus, "net", card.graph.sha256, offset=card.graph.nbytes)
    assert (chunk.data, chunk.error) == (b"", "")


async def test_the_cards_on_the_bus_follow_the_library(house: House) -> None:
    await house.watch(MODEL_CARD)
    first = house.import_model()
    changes: list[str] = []
    async with offered(house.bus, house.library) as server:
        assert await house.until(MODEL_CARD, "net", lambda card: True) == first
        watching = asyncio.create_task(server.watch(lambda: changes.append("changed")))
        other = house.import_model("other")
        assert await house.until(MODEL_CARD, "other", lambda card: True) == other
        longer = house.import_model(blocks=6)
        await house.until(MODEL_CARD, "net", lambda card: card == longer)
        house.library.remove("other")
        await house.cleared(MODEL_CARD, "other")
        watching.cancel()
    assert changes


async def test_an_empty_library_is_no_error(house: House) -> None:
    async with offered(house.bus, house.library) as server:
        assert server.cards == {}
        assert "the library has no models" in (await ask(house.bus, "net", "f" * 64)).error


async def test_many_requests_for_what_is_not_there_are_logged_in_a_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.import_model()
    async with offered(house.bus, house.library) as server:
        server.cards = {f"{number:064}": card for number in range(100) for card in server.cards.values()}
        for number in range(20):
            assert len((await ask(house.bus, "net", f"{number:064x}")).error) < 500
    lines = [record for record in caplog.records if record.name == "services.planner.library_server"]
    assert len([line for line in lines if line.levelno == logging.WARNING]) == 1
