"""What a network costs, layer by layer, and what an exit behind each layer would add."""

from __future__ import annotations

import math
from dataclasses import dataclass


class BadLayersError(ValueError):
    """Costs that no network has; the message says which."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A chain of layers (or blocks) in the order in which they run. FLOPs of any unit, the same for both."""

    flops: tuple[float, ...]
    exit_flops: tuple[float, ...]
    """Of the exit behind each layer; the last one is the network's own head."""

    def __post_init__(self) -> None:
        if not self.flops or len(self.flops) != len(self.exit_flops):
            raise BadLayersError(
                f"{len(self.flops)} layers and {len(self.exit_flops)} exits: there must be at least one layer, and one "
                "exit behind each"
            )
        for what in (self.flops, self.exit_flops):
            if not all(math.isfinite(cost) and cost >= 0 for cost in what):
                raise BadLayersError(f"costs must be finite and not negative, not {what}")

    def __len__(self) -> int:
        return len(self.flops)

    @property
    def last(self) -> int:
        """The last layer, behind which everyone leaves."""
        return len(self.flops) - 1

    def check(self, exits: tuple[int, ...]) -> None:
        """Whether it is a setting of this network.

        Raises:
            BadLayersError: an exit stands behind no layer or behind the last one, or they do not ascend.
        """
        if any(not 0 <= place < self.last for place in exits) or list(exits) != sorted(set(exits)):
            raise BadLayersError(
                f"exits {exits} must ascend within 0..{self.last - 1}: behind the last layer all leave"
            )
