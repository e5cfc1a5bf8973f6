"""Measures what each block of a model costs on this device, with made-up weights: only the graph blob is needed.

Runs are timed in the processor time of their thread, which a quota's pauses do not disturb, and so need few
repetitions; how much longer everything takes by the clock is measured over all runs together. Under a quota the loop
never rests, so what it shows is the speed that a device can keep up. A request that finds the device at rest is another
matter (caches, clock rates, no pauses): the whole is also run a few times after a rest, and the ratio is reported.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from models.blobs import BlobStore
from models.block_costs import Run, Span, separate, slowdown, spans_to_measure, typical_costs
from models.fitting import groups_that_fit, parts_that_fit
from models.made_up import MadeUpWeights, made_up_tensor
from models.runtime import Backend, StageRunner, stage_memory_bytes
from models.runtime.backends import accelerated, build
from models.runtime.checks import Accelerator
from models.runtime.heap import return_freed_memory
from models.stage import cut_stage
from schemas.codec import Array
from schemas.model import ModelCard

DEFAULT_BUDGET_S: Final = 3.5
_LEAST_ROUNDS: Final = 3
_RESTED_RUNS: Final = 10
_REST_S: Final = (0.01, 0.03)
"""Longer than a quota's period is usual in the demo, and not in step with one."""
_REST_RATIOS: Final = (0.25, 4.0)
"""Beyond these something else was going on."""


class ProfilingStoppedError(RuntimeError):
    """Profiling was asked to stop before it had an answer; ask again when the device is free."""

    def __init__(self) -> None:
        super().__init__("profiling was stopped before it was done; ask for the profile again")


@dataclass(frozen=True)
class ProfiledBlocks:
    """A stage [i, j) takes `sum(block_ms[i:j]) + stage_overhead_ms` at sustained load."""

    block_ms: tuple[float, ...]
    stage_overhead_ms: float
    rounds: int
    """How often each block was run at least."""
    rest_ratio: float = 1.0
    """Processor time of a run after a rest, relative to one at sustained load."""
    slowdown: float = 1.0
    """How much longer runs took by the clock than in processor time; it is in `block_ms`."""


def profile_blocks(
    card: ModelCard,
    graph: BlobStore | bytes,
    *,
    backend: Backend = "onnxruntime",
    threads: int = 1,
    accelerator: Accelerator = "auto",
    budget_s: float = DEFAULT_BUDGET_S,
    memory_budget_bytes: int | None = None,
    scratch: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda _share: None,
) -> ProfiledBlocks:
    """Measure every block; takes about `budget_s`, more where a few rounds alone take longer.

    Args:
        card: the model.
        graph: the graph blob's bytes, or a store that holds it; no other blob is looked at.
        backend: what the stages will run on.
        threads: what the stages will run with.
        accelerator: where they will run.
        budget_s: time for measuring; building sessions comes on top.
        memory_budget_bytes: what may be taken at once; None: as much as the whole model needs. Blocks are built and
            measured as many at a time as fit, and the whole in as few parts.
        scratch: where made-up weights are written meanwhile; the system's temporary folder by default.
        should_stop: polled before every run.
        progress: called with the share done, 0 to 1.

    Raises:
        ProfilingStoppedError: `should_stop` said so.
        models.runtime.checks.BackendError: the runtime cannot run a block.
        models.stage.BadGraphError, models.blobs.MissingBlobError: the graph is not the card's, or not there.
    """
    blob = graph if isinstance(graph, bytes) else graph.read(card.graph.sha256)
    memory = stage_memory_bytes(card, 0, len(card.blocks)) if memory_budget_bytes is None else memory_budget_bytes
    longer = parts_that_fit(card, memory)
    spans = list(dict.fromkeys([*spans_to_measure(len(card.blocks)), *longer]))
    groups = groups_that_fit(card, spans, memory)
    runs: list[Run] = []
    rested: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="stageline-profile-", dir=scratch) as folder:
        bench = _Bench(card, blob, backend, threads, accelerator, MadeUpWeights(Path(folder)), should_stop)
        for i, group in enumerate(groups):
            share = _work(card, group) / _work(card, spans)
            runs += bench.measure(group, share * budget_s)
            progress((i + 1) / len(groups))
        for part in longer:
            rested += bench.measure_rested(part)
    cost = typical_costs(runs)
    costs = separate(cost, longer)
    slower = slowdown(runs, cost)
    to_ms = 1000 * slower
    rounds = min(Counter(run.span for run in runs).values())
    ratio = sum(typical_costs(rested).values()) / max(1e-9, sum(cost[part] for part in longer))
    return ProfiledBlocks(
        tuple(block * to_ms for block in costs.blocks),
        costs.overhead * to_ms,
        rounds,
        min(max(ratio, _REST_RATIOS[0]), _REST_RATIOS[1]),
        slower,
    )


class _Ready(NamedTuple):
    """A span that is built, and what it is fed."""

    span: Span
    stage: StageRunner
    tensors: dict[str, Array]


@dataclass
class _Bench:
    """Builds spans and runs them in turn."""

    card: ModelCard
    graph: bytes
    backend: Backend
    threads: int
    accelerator: Accelerator
    weights: MadeUpWeights
    should_stop: Callable[[], bool]

    def measure(self, spans: Sequence[Span], budget_s: float) -> list[Run]:
        """Build, run in turn for `budget_s` and a few rounds at least, and forget."""
        try:
            return self._measure(spans, budget_s)
        finally:
            return_freed_memory()

    def measure_rested(self, span: Span) -> list[Run]:
        """Build one span and run it a few times, each after a rest."""
        try:
            with self._built([span]) as [ready]:
                runs = []
                for _ in range(_RESTED_RUNS):
                    time.sleep(random.uniform(*_REST_S))  # noqa: S311  not a secret
                    runs.append(self._timed(ready))
                return runs
        finally:
            return_freed_memory()

    def _measure(self, spans: Sequence[Span], budget_s: float) -> list[Run]:
        runs: list[Run] = []
        with self._built(spans) as stages:
            end = time.perf_counter() + budget_s
            rounds = 0
            while rounds < _LEAST_ROUNDS or time.perf_counter() < end:
                runs += [self._timed(ready) for ready in stages]
                rounds += 1
        return runs

    @contextmanager
    def _built(self, spans: Sequence[Span]) -> Iterator[list[_Ready]]:
        """Stages that have run once, closed at the end."""
        pieces = [cut_stage(self.card, self.graph, first, last) for first, last in spans]
        self.weights.have(weight for piece in pieces for weight in piece.weights)
        stages: list[_Ready] = []
        try:
            for span, piece in zip(spans, pieces, strict=True):
                self._poll()
                stage = build(
                    piece, self.weights.folder, self.backend, threads=self.threads, accelerator=self.accelerator
                )
                tensors = {spec.name: made_up_tensor(spec) for spec in piece.inputs}
                stages.append(_Ready(span, stage, tensors))
                stage.run(tensors)
            yield stages
        finally:
            for ready in stages:
                ready.stage.close()

    def _timed(self, ready: _Ready) -> Run:
        self._poll()
        clock = self._clock
        wall, cost = time.perf_counter(), clock()
        ready.stage.run(ready.tensors)
        return Run(ready.span, clock() - cost, time.perf_counter() - wall)

    def _poll(self) -> None:
        if self.should_stop():
            raise ProfilingStoppedError

    @cached_property
    def _clock(self) -> Callable[[], float]:
        """The thread's processor time where that thread does all the work, else the time of day."""
        alone = self.threads == 1 and (self.accelerator == "cpu" or not accelerated(self.backend))
        return time.thread_time if alone else time.perf_counter


def _work(card: ModelCard, spans: Sequence[Span]) -> int:
    """Roughly how long one round of these spans takes, in no unit."""
    blocks = [block for first, last in spans for block in card.blocks[first:last]]
    return sum(100_000 + block.macs + block.weight_bytes for block in blocks)
