"""One phase of the demo: deploy, classify the pictures, then measure latency and throughput on the served plan."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any, Final

import numpy as np

from broker.bus import Bus
from models.pictures import load_picture
from models.runtime import StageRunner
from schemas.codec import Array
from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.parts import predicted_parts
from schemas.plan import Plan, Route
from stageline.client import Client
from stageline.demo.progress import PhaseBars
from stageline.deploying import deploy
from stageline.receipts import Answer, Receipt

EQUAL: Final = 1e-4
"""Largest difference from the unsplit model that rounding explains."""
REST_S: Final = (0.01, 0.03)
"""Between requests that are submitted one by one."""
_DEPLOY_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Amount:
    """Requests per phase: so many one by one with a rest between them, for latency; so many at once, for throughput."""

    one_by_one: int = 40
    at_once: int = 160

    @property
    def total(self) -> int:
        """Both."""
        return self.one_by_one + self.at_once


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture's answer, beside what the unsplit model says."""

    path: Path
    answer: Answer
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class StageCheck:
    """One stage's time, predicted and measured, ms: both means, as a quota stops some requests and lets others pass."""

    stage: str
    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True, slots=True)
class Phase:
    """Everything one phase saw."""

    name: str
    decision: Decision
    plan: Plan
    seen: tuple[Seen, ...]
    submitted: int
    answered: int
    failed: int
    lost: int
    duplicates: int
    latencies_ms: tuple[float, ...]
    throughput_rps: float
    stages: tuple[StageCheck, ...]

    @property
    def p50_ms(self) -> float:
        """Median latency of requests submitted one by one."""
        return median(self.latencies_ms)

    @property
    def mean_ms(self) -> float:
        """Mean latency of the same requests: what is predicted is an expectation, over all routes of the plan."""
        return fmean(self.latencies_ms)

    @property
    def p95_ms(self) -> float:
        """Latency that one in twenty exceeds."""
        return quantiles(self.latencies_ms, n=20)[-1]

    @property
    def good(self) -> bool:
        """Every request answered once, and the pictures' answers equal to the unsplit model's."""
        whole = self.submitted == self.answered and not self.lost and not self.duplicates
        return whole and all(one.max_abs_error < EQUAL for one in self.seen)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        predicted = self.plan.predicted
        return {
            "name": self.name,
            "plan": str(self.plan),
            "stages": [
                {"device": stage.device, "first": stage.first, "last": stage.last}
                for route in self.plan.routes
                for stage in route.stages
            ],
            "pictures": [
                {
                    "file": one.path.name,
                    "label": one.answer.top(1)[0].label,
                    "probability": round(one.answer.top(1)[0].probability, 4),
                    "max_abs_error": one.max_abs_error,
                    "receipt": one.answer.receipt.as_dict(),
                }
                for one in self.seen
            ],
            "submitted": self.submitted,
            "answered": self.answered,
            "failed": self.failed,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "latency_ms": {
                "p50": round(self.p50_ms, 2),
                "p95": round(self.p95_ms, 2),
                "mean": round(self.mean_ms, 2),
            },
            "throughput_rps": round(self.throughput_rps, 2),
            "predicted": {
                "latency_ms": round(predicted.latency_ms, 2) if predicted else None,
                "throughput_rps": round(predicted.throughput_rps, 2) if predicted else None,
            },
            "stage_times": [
                {
                    "stage": check.stage,
                    "predicted_ms": round(check.predicted_ms, 2),
                    "measured_ms": round(check.measured_ms, 2),
                }
                for check in self.stages
            ],
        }


async def run_phase(
    bus: Bus,
    name: str,
    wish: Deployment,
    *,
    pictures: Sequence[Path],
    reference: StageRunner,
    shown: PhaseBars,
    amount: Amount,
) -> Phase:
    """Deploy `wish`, classify `pictures` and compare with `reference` (the unsplit model), then measure.

    Args:
        bus: connected.
        name: of the phase.
        wish: what to deploy.
        pictures: real picture files.
        reference: the whole model in this process.
        shown: progress bars.
        amount: how many requests.
    """
    stamped = wish.model_copy(update={"requested": time.time()})
    decision = await deploy(bus, stamped, timeout_s=_DEPLOY_TIMEOUT_S, tell=shown.deploying)
    async with Client(bus.address, deployment=wish.deployment, root=bus.root) as client:
        card = await client.ready()
        plan = await _served(client, decision.generation)
        seen = tuple([await _classify(client, card, path, reference) for path in pictures])
        receipts: list[Receipt] = []
        visible = Counter(one.answer.request for one in seen)
        for index in range(amount.one_by_one):
            # Latency is predicted for a request that finds the line at rest, at any moment of a quota's period.
            await asyncio.sleep(random.uniform(*REST_S))  # noqa: S311  not a secret
            answer = await client.submit(pictures[index % len(pictures)])
            receipts.append(answer.receipt)
            visible[answer.request] += 1
            shown.requests(index + 1, amount.total)
        inputs = [load_picture(path, card.preprocess) for path in pictures] if card.preprocess else []
        done = 0
        started = time.perf_counter()
        async for result in client.submit_many(cycled(inputs, amount.at_once), in_order=False):
            done += 1
            if result.answer is not None:
                visible[result.answer.request] += 1
            shown.requests(amount.one_by_one + done, amount.total)
        took_s = time.perf_counter() - started
    audit = client.audit
    return Phase(
        name=name,
        decision=decision,
        plan=plan,
        seen=seen,
        submitted=audit.submitted,
        answered=audit.answered,
        failed=audit.failed,
        lost=audit.lost,
        duplicates=visible.total() - len(visible),
        latencies_ms=tuple(receipt.latency_ms for receipt in receipts),
        throughput_rps=amount.at_once / took_s,
        stages=_check_stages(plan, receipts),
    )


def cycled(inputs: Sequence[Array], count: int) -> Iterator[Array]:
    """`count` inputs, over and over again from the start."""
    return islice(cycle(inputs), count)


async def _served(client: Client, generation: int) -> Plan:
    while client.watch.served is None or client.watch.served.plan.generation < generation:
        await client.watch.changed()
    return client.watch.served.plan


async def _classify(client: Client, card: ModelCard, path: Path, reference: StageRunner) -> Seen:
    answer = await client.submit(path)
    if card.preprocess is None:
        raise ValueError(f"{card.name} takes no pictures")
    expected = reference.run({card.inputs[0].name: load_picture(path, card.preprocess)})
    error = max(
        float(np.abs(np.subtract(answer.outputs[name], array, dtype=np.float64)).max())
        for name, array in expected.items()
    )
    return Seen(path, answer, error)


def _check_stages(plan: Plan, receipts: Sequence[Receipt]) -> tuple[StageCheck, ...]:
    """Predicted against measured for every stage that served a request."""
    checks = []
    for index, route in enumerate(plan.routes):
        mine = [receipt for receipt in receipts if receipt.route == _text(index, route)]
        for place, (part, predicted) in enumerate(predicted_parts(route, index)):
            times = [receipt.stages[place].compute_ms + receipt.stages[place].codec_ms for receipt in mine]
            if times:
                name = f"{part.device}[{part.first}:{part.last})"
                checks.append(StageCheck(name, predicted.compute_ms, fmean(times)))
    return tuple(checks)


def _text(index: int, route: Route) -> str:
    return f"r{index}: {route}"
