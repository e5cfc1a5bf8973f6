"""The whole house as real processes: mosquitto, planner, three devices with a monitor and a worker each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import onnx
import pytest
from end_to_end.small_line import DEVICES, everybody, planner_there, stack_of_convolutions

from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import StageRunner, load_stage
from schemas.model import ModelCard
from stageline.demo.fleet import house
from stageline.emulation.house import House

ENDED_AFTER_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each wait has a limit of its own, and one test waits many times, the start of the house among them: a limit for
    all of it together only ends what none of them would.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(ENDED_AFTER_S))


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
    """A bus of the test's own, once every device and the planner are there."""
    async with Bus(running.broker.url, name="test") as connected:
        await everybody(running, connected)
        await planner_there(connected)
        yield connected
