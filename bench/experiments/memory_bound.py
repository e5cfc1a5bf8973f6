"""A model that no device can hold: VGG16, 633 MB, on boards of 805 MB that lend 500 MB each to models.

The kernel limits the boards' memory, a setting what their workers lend of it; by themselves they would lend less, 45 %
of what is free (`services.worker.memory`).

Told are the bytes of weights that moved, how long it took from the wish to the first answer (measuring the model,
planning, fetching, building and warming up), and what the line then does. The policies that need a whole copy
somewhere are asked too, through the planner, and their refusals are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.context import Context
from bench.line import dropped, joined, removed, served
from bench.loads import at_rest, flat_out
from bench.statistics import median, spread
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import StageRunner, load_stage, stage_memory_bytes
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from stageline.deploying import DeployFailedError, Rollout, deploy

FLEET: Final = "small_memory"
WHOLE_COPIES: Final = ("best-single", "replicas")


@dataclass(frozen=True)
class Amount:
    """How much of what."""

    model: str
    budget_mb: int
    """For stages on each board, whose 805 MB are also for Python, the runtime and the kernel's buffers."""
    one_by_one: int
    flat_out_s: float


FULL: Final = Amount("vgg16", budget_mb=500, one_by_one=6, flat_out_s=20.0)
QUICK: Final = Amount("alexnet", budget_mb=200, one_by_one=4, flat_out_s=2.0)
"""A smaller model on what is too little for it: VGG16 alone would take a third of a quick run."""


def run(context: Context) -> dict[str, Any]:
    """Measure our plan, and ask for those that cannot be: a row each."""
    amount = QUICK if context.quick else FULL
    context.progress(f"importing {amount.model}", 0.0)
    card = context.card(amount.model)
    reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
    context.progress("devices joining", 0.3)
    settings = {"STAGELINE_MEMORY_BUDGET_MB": str(amount.budget_mb)}
    with testbed(context.fleet(FLEET), library=context.library.root, environment=settings) as bed:
        rows = asyncio.run(_rows(context, bed, card, reference, amount))
    reference.close()
    return {"memory_bound": rows}


async def _rows(
    context: Context, bed: Testbed, card: ModelCard, reference: StageRunner, amount: Amount
) -> list[dict[str, Any]]:
    common = {
        "fleet": bed.fleet.name,
        "model": card.name,
        "model_needs_bytes": stage_memory_bytes(card, 0, len(card.blocks)),
        "weight_bytes": card.weight_bytes,
        "device_memory_bytes": [device.memory_bytes for device in bed.fleet.devices],
        "device_budget_bytes": amount.budget_mb * 1_000_000,
    }
    async with Bus(bed.url, name="bench-memory") as bus:
        await joined(bus, bed)
        context.progress("measuring, fetching, building", 0.4)
        steps, started = Steps(), time.monotonic()
        wish = Deployment(deployment=card.name, model=card.name, objective="throughput")
        async with served(bus, bed, wish, reference=reference, tell=steps.see) as line:
            await line.ask(0)
            first_answer_s = time.monotonic() - started
            context.progress("serving", 0.6)
            latencies = await at_rest(line, amount.one_by_one)
            full = await flat_out(bed, line, amount.flat_out_s)
        bed.check()
        row = {
            **common,
            "policy": "exact",
            "plan": str(line.plan),
            "throughput_rps": full.throughput_rps,
            "latency_ms": median(latencies),
            "latency_spread": spread(latencies),
            "predicted_rps": line.plan.predicted.throughput_rps if line.plan.predicted else None,
            "predicted_latency_ms": line.plan.predicted.latency_ms if line.plan.predicted else None,
            "first_answer_s": first_answer_s,
            "steps_s": steps.lengths_s(first_answer_s),
            "weights_moved_bytes": moved_bytes(card, line.plan),
            "weights_on_devices_bytes": {
                device.name: stored_bytes(bed.folder / device.name) for device in bed.fleet.devices
            },
            "worker_resident_bytes": {
                name: held for name, held in full.resident_bytes.items() if name.startswith("worker:")
            },
            "max_abs_error": line.error,
            "answered": line.client.audit.answered,
            "failed": line.client.audit.failed,
        }
        context.raw("memory_bound", {**row, "latencies_ms": latencies, "counted": full.counted})
        context.progress("asking for whole copies", 0.9)
        await removed(bus, card.name)
        await dropped(bus, line.plan)
        refused = [{**common, "policy": name, **await _refusal(bus, card.name, name)} for name in WHOLE_COPIES]
    return [row, *refused]


async def _refusal(bus: Bus, model: str, policy: str) -> dict[str, Any]:
    """What the planner says of a wish for whole copies, with all memory free."""
    wish = Deployment(deployment=policy, model=model, policy=policy, requested=time.time())
    answer: dict[str, Any] = {"throughput_rps": None, "latency_ms": None}
    try:
        decision = await deploy(bus, wish)
        answer |= {"plan": decision.plan, "note": "it can be held after all"}
    except DeployFailedError as error:
        answer |= {"plan": None, "note": str(error)}
    await removed(bus, policy)
    return answer


class Steps:
    """When each state of a rollout was first seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._seen_s: dict[str, float] = {}

    def see(self, rollout: Rollout) -> None:
        """Take in one step."""
        if rollout.decision is not None:
            self._seen_s.setdefault(rollout.decision.state, self._clock() - self._started)

    def lengths_s(self, end_s: float) -> dict[str, float]:
        """How long each state lasted, the last one until `end_s` after the beginning."""
        ends = [*list(self._seen_s.values())[1:], end_s]
        return {state: end - begin for (state, begin), end in zip(self._seen_s.items(), ends, strict=True)}


def moved_bytes(card: ModelCard, plan: Plan) -> int:
    """Weights that had to move for a plan: each device's, once."""
    moved = {
        (stage.device, blob.sha256): blob.nbytes
        for route in plan.routes
        for stage in route.stages
        for blob in card.stage_blobs(stage.first, stage.last)
    }
    return sum(moved.values())


def stored_bytes(folder: Path) -> int:
    """What lies in a device's folder of blobs, graph included."""
    return sum(path.stat().st_size for path in folder.glob("worker/*/blobs/**/*") if path.is_file())
