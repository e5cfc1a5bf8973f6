"""What a worker is tested against: a library of small models, and a lab (`lab.py`) on a broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import onnx
import pytest

from broker.embedded import EmbeddedBroker
from models.importer import import_model
from models.library import Library
from tests.services.worker.lab import Lab, a_lab
from tests.services.worker.small_models import MODELS


@pytest.fixture(scope="session")
def worker_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Holds all of `MODELS`."""
    folder = tmp_path_factory.mktemp("worker")
    library = Library(folder / "library")
    for name, model in MODELS.items():
        onnx.save(model(), folder / f"{name}.onnx")
        import_model(str(folder / f"{name}.onnx"), library, name=name)
    return library


@pytest.fixture
async def lab(broker: EmbeddedBroker, root: str, worker_library: Library, tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(broker.url, root, worker_library, tmp_path) as lab:
        yield lab


@pytest.fixture
def own_broker_lab(
    root: str, worker_library: Library, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[tuple[EmbeddedBroker, Lab]]]:
    """A lab on a broker of its own, which may be killed or configured: `async with own_broker_lab(**settings)`."""

    @asynccontextmanager
    async def make(**settings: str) -> AsyncIterator[tuple[EmbeddedBroker, Lab]]:
        with EmbeddedBroker(settings) as broker:
            async with a_lab(broker.url, root, worker_library, tmp_path) as lab:
                yield broker, lab

    return make
