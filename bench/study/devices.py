"""The paper's two tables of devices [P]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Device:
    """An end device and what its requests are like."""

    power_w: float
    """While it computes."""
    transmit_w: float
    """While it sends."""
    gflops: float
    """Per second."""
    printed: tuple[int, ...]
    """Percent of requests that could leave behind each layer and not before, as printed; the last is whoever stays."""

    @property
    def leaves(self) -> tuple[float, ...]:
        """The same as shares that sum to 1. The video table's rows sum to 93..126 %, and are divided by that."""
        whole = sum(self.printed)
        return tuple(percent / whole for percent in self.printed)


TABLES: Final[dict[str, tuple[Device, ...]]] = {
    "images": (
        Device(0.5, 0.1, 50, (10, 8, 2, 15, 0, 7, 5, 6, 3, 2, 28, 12, 2)),
        Device(0.8, 0.15, 80, (12, 6, 3, 10, 1, 8, 4, 7, 2, 1, 25, 15, 6)),
        Device(1.2, 0.2, 100, (9, 7, 4, 14, 0, 6, 5, 8, 3, 2, 27, 10, 5)),
        Device(1.5, 0.3, 150, (11, 5, 2, 13, 1, 9, 4, 6, 3, 1, 26, 14, 5)),
        Device(2.0, 0.4, 200, (11, 1, 0, 0, 0, 0, 4, 6, 3, 30, 26, 14, 5)),
    ),
    "video": (
        Device(0.3, 0.08, 30, (15, 10, 5, 20, 2, 8, 6, 7, 4, 3, 30, 15, 1)),
        Device(0.6, 0.12, 60, (12, 8, 4, 15, 1, 9, 7, 6, 5, 3, 25, 14, 2)),
        Device(1.2, 0.2, 100, (10, 7, 3, 14, 2, 8, 6, 5, 4, 3, 26, 12, 3)),
        Device(2.0, 0.3, 120, (9, 6, 2, 13, 1, 10, 5, 7, 4, 2, 27, 13, 3)),
        Device(3.0, 0.4, 200, (8, 5, 1, 12, 0, 11, 7, 6, 3, 2, 28, 14, 2)),
        Device(4.0, 0.5, 250, (7, 4, 1, 10, 0, 12, 6, 5, 3, 1, 29, 15, 2)),
        Device(5.0, 0.6, 300, (6, 3, 0, 8, 0, 13, 7, 5, 2, 1, 30, 16, 2)),
    ),
}
