"""Joules of one stage: from a meter where there is one, from the device's power model otherwise, always tagged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.device import Power, PowerModel


@dataclass(frozen=True, slots=True)
class Watts:
    """What this device is taken to draw while it computes."""

    watts: float
    method: Literal["measured", "modelled"]
    source: str

    def joules(self, compute_ms: float) -> float:
        """Energy of that much compute, J."""
        return self.watts * compute_ms / 1000.0


UNKNOWN = Watts(0.0, "modelled", "")
"""No figure yet. Joules without a source are told as unknown, never as 0."""


def watts_now(model: PowerModel | None, reading: Power | None) -> Watts:
    """The best figure there is.

    A meter's reading is of the whole device, whatever else runs on it: the stage is charged for all of it.
    The model's `busy_w` is the whole device at full load, so it is charged the same way.
    """
    if reading is not None and reading.method == "measured":
        return Watts(reading.watts, "measured", reading.source[:128])
    if model is not None:
        return Watts(model.busy_w, "modelled", f"busy {model.busy_w:g} W x compute time; {model.source}"[:128])
    return UNKNOWN
