"""How far a model can be divided into bands of rows, and why not further."""

from __future__ import annotations

from dataclasses import dataclass

from models.rows.chain import RowChain, RowsError
from schemas.model import ModelCard, TensorSpec


@dataclass(frozen=True)
class Boundary:
    """A cut that bands may end at: blocks `[0, last)` are divided, `tensor` is what their bands together give."""

    last: int
    tensor: TensorSpec
    height: int


@dataclass(frozen=True)
class RowsPossible:
    """What `deepest` found. `boundaries` is empty where not even the first block can be divided."""

    boundaries: tuple[Boundary, ...]
    """In order of `last`. Cuts that more than one tensor crosses are not among them."""
    why_not_further: str
    """As in `block 21: GlobalAveragePool needs all rows`."""
    longest: RowChain | None

    @property
    def lasts(self) -> tuple[int, ...]:
        """Every `last` that bands may have."""
        return tuple(boundary.last for boundary in self.boundaries)

    def boundary(self, last: int) -> Boundary:
        """The boundary before block `last`.

        Raises:
            RowsError: bands cannot end there.
        """
        raise RowsError(f"bands cannot end before block {last}")

    def chain(self, last: int) -> RowChain:
        """The chain of blocks `[0, last)`, for `needed`, `shares` and `cost`.

        Raises:
            RowsError: bands cannot end there.
        """
        raise RowsError(f"bands cannot end before block {last}")


def deepest(card: ModelCard, graph_blob: bytes) -> RowsPossible:
    """Where bands of rows may end, from the input on.

    Supported are models with one input, a picture [1, rows, columns, 3] or [1, channels, rows, ...], and cuts that one
    tensor [1, channels, rows, ...] crosses. Pure, but takes some 10 ms for a deep network: keep what it gives.

    Raises:
        models.stage.BadGraphError: the graph does not fit the card.
    """
    raise NotImplementedError
