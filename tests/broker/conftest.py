"""What the tests of the bus share: two clients, frames, and waiting for what must come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader

WORK = FrameHeader(kind="work", request="q1", submitter="s", deployment="d", generation=1, budget_ms=1000)


@pytest.fixture
async def here(broker: EmbeddedBroker, root: str) -> AsyncIterator[Bus]:
    async with Bus(broker.url, name="here", root=root) as bus:
        yield bus


@pytest.fixture
async def there(broker: EmbeddedBroker, root: str) -> AsyncIterator[Bus]:
    async with Bus(broker.url, name="there", root=root) as bus:
        yield bus


@pytest.fixture
def frame() -> Callable[[str], bytes]:
    """A small frame with that request id."""

    def make(request: str) -> bytes:
        header = WORK.model_copy(update={"request": request})
        return encode_frame(header, {"x": np.arange(12, dtype=np.float32).reshape(3, 4)})

    return make


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], object]:
    """Wait until something is so; for what has no event of its own (a process that ends, a counter)."""

    async def wait(is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not is_so():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    return wait
