"""A stage that can compute, and which frames are for it. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from models.rows.specs import band_input, band_output
from models.runtime.passed import Passed
from schemas.codec import Array, TensorHeader
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard, TensorSpec
from schemas.plan import ROUTE_STAGES
from services.worker.assignments import Assignment
from services.worker.refused import RefusedError


class Runs(Protocol):
    """As much of a stage runner as moving frames needs."""

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """All tensors of the cut before the stage in, all tensors of the cut behind it out."""

    def run_until(self, tensors: Mapping[str, Array], thresholds: Mapping[str, float]) -> Passed:
        """As `run`, unless an exit is confident enough: then the model's answer."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A stage that can compute: what it takes, what it gives, and where that goes."""

    device: str
    assignment: Assignment
    takes: tuple[TensorSpec, ...]
    gives: tuple[TensorSpec, ...]
    runner: Runs
    parts: tuple[TensorSpec, ...] = ()
    """What each of the bands before it gives, where there are any; joined they are what it takes."""
    answer: tuple[TensorSpec, ...] = ()
    """What a request that leaves at an exit is answered with."""

    @classmethod
    def of(cls, device: str, assignment: Assignment, card: ModelCard, runner: Runs) -> Lane:
        """The lane of one assignment, with the tensors that the card's cuts say.

        Raises:
            models.rows.chain.RowsError: the model has no such rows there.
        """
        first, last, rows = assignment.slice.first, assignment.slice.last, assignment.slice.rows
        if rows:
            takes, gives = band_input(card, rows.takes), band_output(card, last, rows.gives)
            return cls(device, assignment, (takes,), (gives,), runner)
        gives_all = card.cuts[last].tensors if last < len(card.blocks) else card.outputs
        takes_all = card.cuts[first].tensors if first else card.inputs
        parts = tuple(band_output(card, first, given) for given in assignment.joins)
        return cls(device, assignment, takes_all, gives_all, runner, parts, card.outputs)

    @property
    def is_joined_here(self) -> bool:
        """It gives a band to a stage of the same device."""
        return self.assignment.bands > 0 and self.assignment.next_device == self.device


def check(lane: Lane, header: FrameHeader) -> None:
    """Everything that can be checked without touching tensor data; cheap enough for the event loop.

    Raises:
        RefusedError: not for this stage, or not what it takes (says what was expected and what came).
    """
    here = lane.assignment
    if header.kind != "work":
        raise RefusedError("bad-frame", f"a frame of kind {header.kind!r} came to a stage, which takes 'work'")
    if (header.deployment, header.generation) != (here.key.deployment, here.key.generation):
        raise RefusedError(
            "wrong-generation",
            f"frame of {header.deployment} generation {header.generation} came to stage {here.key}: "
            "submit it again on the current plan",
        )
    if header.route != here.route:
        raise RefusedError("bad-frame", f"frame of route {header.route} came to stage {here.key}")
    if len(header.trace) >= ROUTE_STAGES:
        raise RefusedError("bad-frame", f"the frame's trace has {len(header.trace)} stages: no room for {here.key}")
    takes = _takes(lane, header)
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors}
    if given != {spec.name: (spec.dtype, spec.shape) for spec in takes}:
        expected = ", ".join(map(str, takes))
        came = ", ".join(map(_describe, header.tensors)) or "no tensor"
        raise RefusedError(
            "bad-frame" if here.slice.first else "bad-input", f"stage {here.key} takes {expected}; given: {came}"
        )


def _takes(lane: Lane, header: FrameHeader) -> tuple[TensorSpec, ...]:
    """What this frame must hold: where bands are joined, that depends on which of them it is.

    Raises:
        RefusedError: it is another band than comes here, or none where one is awaited.
    """
    here = lane.assignment
    band = f"a frame that says it is band {header.band} of {header.bands}" if header.bands else "a whole frame"
    if not lane.parts:
        if (header.band, header.bands) != (here.band, here.bands):
            awaits = f"takes band {here.band} of {here.bands}" if here.bands else "takes whole frames"
            raise RefusedError("bad-frame", f"{band} came to {here.key}, which {awaits}")
        return lane.takes
    if header.bands != len(lane.parts) or header.band >= header.bands:
        raise RefusedError("bad-frame", f"{band} came to {here.key}, which joins {len(lane.parts)} bands")
    if len(header.trace) > 1:
        raise RefusedError("bad-frame", f"{band} came to {here.key} after {len(header.trace)} stages, not one band")
    return (lane.parts[header.band],)


def _describe(tensor: TensorHeader) -> str:
    return f"{tensor.name} {tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"
