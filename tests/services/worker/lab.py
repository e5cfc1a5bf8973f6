"""Where workers are tested: a hub, a submitter, the models, and workers to start."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.library import Library
from schemas.codec import Array
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.plan_text import parse_route
from tests.services.worker.small_hub import Hub, a_hub
from tests.services.worker.small_models import dense_model
from tests.services.worker.small_submitter import Submitter, a_submitter
from tests.services.worker.worker_process import WorkerProcess


@dataclass
class Lab:
    """Everything one test needs: a hub, a submitter, the dense model, and workers to start."""

    hub: Hub
    submitter: Submitter
    url: str
    root: str
    folder: Path
    card: ModelCard
    whole: Callable[[Array], Array]
    """The unsplit model."""
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, device: str, **settings: str) -> WorkerProcess:
        worker = WorkerProcess(self.url, self.root, device, self.folder, **settings)
        self.workers.append(worker)
        return worker

    def plan(self, text: str, generation: int = 1, model: str = "dense") -> Plan:
        """A plan of one route, from its text; `[0:)` ends with the model."""
        card = self.hub.library.card(model)
        route = parse_route(text.replace(":)", f":{len(card.blocks)})"))
        return Plan(
            deployment="cats",
            generation=generation,
            model=card.name,
            card_sha=card.sha256,
            objective="latency",
            policy="exact",
            routes=(route,),
        )

    def input(self, seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal((1, 64)).astype(np.float32)

    def cache(self, device: str) -> Path:
        """Where that worker keeps weights."""
        return self.folder / device / "worker" / device / "blobs"


@asynccontextmanager
async def a_lab(url: str, root: str, library: Library, folder: Path) -> AsyncIterator[Lab]:
    """The hub has published its cards. Workers that still run at the end are killed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(dense_model().SerializeToString(), providers=["CPUExecutionProvider"])
    async with a_hub(url, root, library) as hub, a_submitter(url, root) as submitter:
        lab = Lab(
            hub=hub,
            submitter=submitter,
            url=url,
            root=root,
            folder=folder,
            card=library.card("dense"),
            whole=lambda x: session.run(None, {"x": x})[0],
        )
        for card in library.cards().values():
            await hub.card(card)
        try:
            yield lab
        finally:
            for worker in lab.workers:
                if worker.process.poll() is None:
                    worker.stop(signal.SIGKILL)
                # Shown where the test failed: what it waited for in vain is often told here.
                sys.stdout.write(f"--- {worker.device}\n{worker.log()}\n")
