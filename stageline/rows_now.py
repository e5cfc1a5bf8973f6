"""How a model's rows may be shared, for plans on paper: from its graph, which the hub's library sends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from broker.bus import Bus
from models.blobs import BlobStore
from models.stage import BadGraphError
from schemas.model import ModelCard
from services.planner.rows_known import RowsKnown, rows_of
from services.worker.fetch import Fetcher, FetchError

_WITHIN_S: Final = 10.0


async def rows_now(bus: Bus, card: ModelCard, warn: Callable[[str], None]) -> RowsKnown | None:
    """What is known of a model's rows; None, and a warning, where its graph cannot be had.

    Args:
        bus: connected.
        card: as the hub publishes it.
        warn: told in a line why rows will not be shared on paper.
    """
    with tempfile.TemporaryDirectory(prefix="stageline-graph-") as folder:
        store = BlobStore(Path(folder))
        fetcher = Fetcher(bus.bulk, store, bus.address.username or bus.name)
        running = asyncio.create_task(fetcher.run())
        try:
            async with asyncio.timeout(_WITHIN_S):
                await fetcher.fetch(card.name, (card.graph,), lambda _: None)
            return await asyncio.to_thread(rows_of, card, store.read(card.graph.sha256))
        except (TimeoutError, FetchError, BadGraphError) as error:
            why = str(error) or f"it did not come within {_WITHIN_S:g} s"
            warn(f"planned without sharing rows: the graph of {card.name} cannot be had ({why})")
            return None
        finally:
            running.cancel()
            await asyncio.wait([running])
