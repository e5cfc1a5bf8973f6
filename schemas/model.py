"""A model as blocks, cut points and content-addressed blobs: all a planner or worker must know of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Bytes, Count, Fraction, Many, Message, Name, Sha256, Text, left_out_at
from schemas.tensors import ITEM_BYTES, Dtype

TensorName = Annotated[str, Field(min_length=1, max_length=512)]
Dimension = Annotated[int, Field(ge=0, le=2**31)]


class TensorSpec(Message):
    """A tensor's name, element type and shape (batch included, always 1)."""

    name: TensorName
    dtype: Dtype
    shape: Annotated[tuple[Dimension, ...], Field(max_length=8)]

    @property
    def nbytes(self) -> int:
        """Uncompressed size, bytes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{'x'.join(map(str, self.shape))}]"


class Blob(Message):
    """Bytes known by their hash."""

    sha256: Sha256
    nbytes: Bytes


class Block(Message):
    """Smallest run of graph nodes that is never split: nodes `[first_node, last_node)` in the graph's order."""

    label: Text
    first_node: Count
    last_node: Count
    macs: Count
    """Multiply-accumulates, with spatial size and groups counted."""
    layer_cost: Count = 0
    """AMP4EC's cost of its layers (arXiv 2504.00407), blind to spatial size and groups; 0 on cards from before."""
    weight_bytes: Bytes
    """All weights its nodes read, whether in blobs or inside the graph blob."""
    peak_activation_bytes: Bytes
    """Largest sum of tensors alive at once inside the block."""
    blobs: Many[Count] = ()
    """Indices into the card's `blobs`."""


class Cut(Message):
    """Position `p` lies before block `p`; everything alive there must be sent."""

    tensors: Many[TensorSpec]

    @property
    def nbytes(self) -> int:
        """Bytes across this cut, codecs off."""
        return sum(tensor.nbytes for tensor in self.tensors)


class Preprocess(Message):
    """How a picture becomes the model's input: shorter side to `resize`, centre `crop`, RGB u8, NHWC."""

    resize: Annotated[int, Field(ge=1, le=8192)]
    crop: Annotated[int, Field(ge=1, le=8192)]


class Exit(Message):
    """A place where a request may be answered early: a head whose output stands in for the model's (BranchyNet).

    The head's nodes are the last ones of `block`; what crosses the cut after that block is the backbone's alone.
    """

    name: Name
    block: Count
    """Once this block is done, the exit is evaluated. Never the last one."""
    output: TensorSpec
    """The head's logits, of the same type and shape as the model's first output."""
    threshold: Fraction
    """As calibrated: a request whose largest softmax probability is at least this leaves here."""
    macs: Count = 0
    """Of its head alone; they are among the block's, though nobody computes them while the exit is closed."""


CLOSED: Final = 1.0
"""Nobody is surer than this: an exit with such a threshold need not be computed at all."""


class OperatingPoint(Message):
    """What thresholds lead to, as measured on validation data: one number per exit of the card, in its order."""

    thresholds: Many[Fraction]
    shares: Many[Fraction]
    """Of all requests, those that leave at each exit; the rest reach the end."""
    accuracy: Fraction
    """Of all answers together, wherever they left."""


def check_points(points: Iterable[OperatingPoint], exits: int) -> None:
    """Whether operating points can be of a model with that many exits.

    Raises:
        ValueError: one has numbers for more or fewer exits, or more leave than there are.
    """
    for point in points:
        if not len(point.thresholds) == len(point.shares) == exits:
            raise ValueError(f"an operating point has one threshold and one share for each of {exits} exits")
        if sum(point.shares) > 1 + 1e-6:
            raise ValueError(f"shares {point.shares[:8]} of an operating point add up to more than all requests")


class ModelCard(Message):
    """What is published about a model. `cuts[p]` is the boundary before block p; there are blocks+1 of them."""

    version: Literal[1] = 1
    name: Name
    source: Text
    graph: Blob
    """The ONNX graph without its large weights, which are `blobs` named by hash."""
    blobs: Many[Blob]
    blocks: Annotated[Many[Block], Field(min_length=1, max_length=4096)]
    cuts: Many[Cut]
    inputs: Annotated[Many[TensorSpec], Field(min_length=1)]
    outputs: Annotated[Many[TensorSpec], Field(min_length=1)]
    preprocess: Preprocess | None = None
    labels: Many[Annotated[str, Field(max_length=256)]] = ()
    notes: Many[Text] = ()
    exits: Annotated[Many[Exit], Field(max_length=64), left_out_at(())] = ()
    """In the order in which a request meets them."""
    operating_points: Annotated[Many[OperatingPoint], Field(max_length=256), left_out_at(())] = ()
    """From the least accurate, which leaves earliest, to the most accurate."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if len(self.cuts) != len(self.blocks) + 1:
            raise ValueError(f"{len(self.blocks)} blocks need {len(self.blocks) + 1} cuts, not {len(self.cuts)}")
        end = 0
        for block in self.blocks:
            if block.first_node != end or block.last_node < block.first_node:
                raise ValueError(f"block {block.label!r} does not follow the one before it")
            end = block.last_node
            if any(index >= len(self.blobs) for index in block.blobs):
                raise ValueError(f"block {block.label!r} names a blob that the card does not list")
        return self

    @model_validator(mode="after")
    def _exits_agree(self) -> Self:
        before = -1
        for one in self.exits:
            if not before < one.block < len(self.blocks) - 1:
                raise ValueError(f"exit {one.name} after block {one.block}: exits follow one another before the last")
            before = one.block
            if (one.output.dtype, one.output.shape) != (self.outputs[0].dtype, self.outputs[0].shape):
                raise ValueError(f"exit {one.name} gives {one.output}, the model {self.outputs[0]}")
        if len({one.name for one in self.exits}) < len(self.exits):
            raise ValueError("two exits have the same name")
        if self.exits and len(self.outputs) != 1:
            raise ValueError("a model with exits has one output, which any of them may give")
        check_points(self.operating_points, len(self.exits))
        return self

    @property
    def sha256(self) -> str:
        """Identity of this exact card; a changed model has another."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole model."""
        return sum(block.macs for block in self.blocks)

    @property
    def weight_bytes(self) -> int:
        """Weights of the whole model (shared weights counted per block that reads them)."""
        return sum(block.weight_bytes for block in self.blocks)

    def stage_blobs(self, first: int, last: int) -> tuple[Blob, ...]:
        """Blobs that blocks `[first, last)` need, each once, in order."""
        indices = dict.fromkeys(i for block in self.blocks[first:last] for i in block.blobs)
        return tuple(self.blobs[i] for i in indices)


class BlobRequest(Message):
    """One range of one blob, answered on `model/{model}/blob/{sha}/{receiver}`."""

    receiver: Name
    offset: Count
    length: Annotated[int, Field(ge=1, le=1 << 20)]


class BlobChunk(Message):
    """A range of a blob, or why it cannot be had. Hash-checked by the receiver when complete."""

    offset: Count
    total: Count
    data: bytes
    error: Text = ""
