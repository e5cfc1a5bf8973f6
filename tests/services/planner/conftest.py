"""What planners are tested against: a library for models made by hand, and a house (`house.py`) on a broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.library import Library
from tests.services.planner.house import House


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
async def house(broker: EmbeddedBroker, root: str, library: Library) -> AsyncIterator[House]:
    async with Bus(broker.url, name="onlooker", root=root) as bus, House(bus, broker, root, library) as made:
        yield made
