"""A peer that runs, all its variants side by side: measured in rounds, each figure the best variant's."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.context import SEED
from bench.peers.cast import Cast, Load, Variant, launch, ready
from bench.peers.program import PeerFailedError
from bench.peers.variants import Given, variants
from models.library import Library
from models.runtime import load_stage
from schemas.codec import Array
from schemas.model import ModelCard
from stageline.emulation.caretaker import caretaker
from stageline.emulation.fleet_file import FleetFile

Keep = Callable[[dict[str, Any]], None]


@dataclass
class Measured:
    """One variant, with all that was measured of it so far."""

    variant: Variant
    cast: Cast
    max_abs_error: float
    latencies_ms: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    resident_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def throughput_rps(self) -> list[float]:
        """Of each flat-out run."""
        return [load.run.answered / load.run.wall_s for load in self.loads]


class PeerLine:
    """One peer on one fleet, ready to be measured."""

    def __init__(self, name: str, measured: list[Measured], keep: Keep) -> None:
        self.name = name
        self.measured = measured
        self._keep = keep

    def round(self, one_by_one: int, flat_out_s: float) -> None:
        """Measure every variant once."""
        for each in self.measured:
            each.cast.use_threads(each.variant.threads)
            latencies = each.cast.one_by_one(one_by_one)
            load = each.cast.flat_out(flat_out_s)
            each.latencies_ms += latencies
            each.loads.append(load)
            each.resident_bytes = each.cast.resident_bytes()
            self._keep(
                {
                    "peer": self.name,
                    "variant": each.variant.label,
                    "latencies_ms": latencies,
                    "answered": load.run.answered,
                    "wall_s": load.run.wall_s,
                    "requests": load.run.requests,
                    "cpu_s": load.cpu_s,
                    "took_s": load.took_s,
                    "resident_bytes": each.resident_bytes,
                    "max_abs_error": each.max_abs_error,
                }
            )

    @property
    def fastest(self) -> Measured:
        """The variant with the highest throughput so far."""
        return max(self.measured, key=lambda each: median(each.throughput_rps))

    @property
    def quickest(self) -> Measured:
        """The variant with the least latency so far."""
        return min(self.measured, key=lambda each: median(each.latencies_ms))

    @property
    def note(self) -> str:
        """Which variant each figure is of, where there are several."""
        fastest, quickest = (each.variant.label for each in (self.fastest, self.quickest))
        if fastest == quickest:
            return fastest
        return f"throughput: {fastest}; latency: {quickest}"


@contextmanager
def peer_line(name: str, card: ModelCard, library: Library, fleet: FleetFile, keep: Keep) -> Iterator[PeerLine]:
    """Start a peer, warm it up and check its answer; all its processes are ended when left.

    Raises:
        bench.peers.program.PeerFailedError: one of its programs failed, or its answer is no number.
    """
    tensor = made_up_input(card)
    expected = expected_answer(card, library, tensor)
    with caretaker(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stageline-peer-")))
        np.save(folder / "input.npy", tensor)
        found = variants(name, Given(card, library, fleet, folder))
        # Variants of the same programs share them; the others load at the same time.
        launched = {roles: launch(name, roles, stack) for roles in dict.fromkeys(each.roles for each in found)}
        casts = {roles: ready(programs) for roles, programs in launched.items()}
        measured = []
        for variant in found:
            cast = casts[variant.roles]
            cast.use_threads(variant.threads)
            cast.warm_up()
            error = float(np.abs(cast.answer() - expected).max())
            if math.isnan(error):
                raise PeerFailedError(f"{name}: its answer holds not-a-number where the unsplit model's does not")
            measured.append(Measured(variant, cast, error))
        yield PeerLine(name, measured, keep)


def made_up_input(card: ModelCard) -> Array:
    """The one input that every peer is asked about, the same each time.

    Raises:
        ValueError: a model of several inputs; peers run models of one.
    """
    if len(card.inputs) != 1:
        raise ValueError(f"{card.name} takes {len(card.inputs)} inputs; peers are measured with models of one")
    spec, draw = card.inputs[0], np.random.default_rng(SEED)
    if spec.dtype == "uint8":
        return draw.integers(0, 256, spec.shape, dtype=np.uint8)
    return draw.standard_normal(spec.shape).astype(spec.dtype)


def expected_answer(card: ModelCard, library: Library, tensor: Array) -> NDArray[np.float64]:
    """What the unsplit model answers in ONNX Runtime."""
    runner = load_stage(card, library.blobs, 0, len(card.blocks), threads=1)
    try:
        return runner.run({card.inputs[0].name: tensor})[card.outputs[0].name].ravel().astype(np.float64)
    finally:
        runner.close()
