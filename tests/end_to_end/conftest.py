"""The whole house as real processes: mosquitto, planner, three devices with a monitor and a worker each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import onnx
import pytest
from end_to_end.small_line import DEVICES, everybody, stack_of_convolutions

from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import StageRunner, load_stage
from schemas.model import ModelCard
from stageline.demo.fleet import house
from stageline.emulation.house import House


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    # Models here are small: measuring them takes no longer.
    quick = {"STAGELINE_PROFILE_BUDGET_S": "0.5"}
    with house(folder, folder / "library", DEVICES, quick) as everything:
        yield everything


@pytest.fixture(scope="module")
def card(running: House) -> ModelCard:
    path = running.folder / "stack.onnx"
    onnx.save(stack_of_convolutions(), path)
    return import_model(str(path), Library(running.library))


@pytest.fixture(scope="module")
def reference(running: House, card: ModelCard) -> Iterator[StageRunner]:
    """The unsplit model."""
    whole = load_stage(card, Library(running.library).blobs, 0, len(card.blocks))
    yield whole
    whole.close()


@pytest.fixture
async def bus(running: House) -> AsyncIterator[Bus]:
    """A bus of the test's own, once every device is there."""
    async with Bus(running.broker.url, name="test") as connected:
        await everybody(running, connected)
        yield connected
