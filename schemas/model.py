"""A model as blocks, cut points and content-addressed blobs: all a planner or worker must know of it."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Bytes, Count, Many, Message, Name, Sha256, Text
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
