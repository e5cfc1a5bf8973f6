"""What a band gives the stage of the same device that joins it: arrays, for which nothing is coded, packed or sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from schemas.codec import Array, EncodedTensor, decode_tensor
from schemas.frame import Frame
from schemas.frame_header import FrameHeader


@dataclass(frozen=True, slots=True)
class HandedOn(Frame):
    """To who joins it, a frame; `data` is empty, because no bytes came over any link."""

    tensors: Mapping[str, Array] = field(default_factory=dict)
    """By name, read-only."""

    @classmethod
    def of(cls, header: FrameHeader, encoded: Iterable[EncodedTensor]) -> Self:
        """From tensors that are raw (codec fp32): what is handed on are views of them."""
        tensors = tuple(encoded)
        described = header.model_copy(update={"tensors": tuple(one.header for one in tensors)})
        arrays = {one.header.name: decode_tensor(one.header, one.data.toreadonly()) for one in tensors}
        return cls(described, (), sum(one.header.nbytes for one in tensors), arrays)

    def arrays(self) -> dict[str, Array]:
        """All tensors, by name."""
        return dict(self.tensors)
