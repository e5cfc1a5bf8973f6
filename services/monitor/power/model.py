"""Watts of a device that cannot measure them: idle + (busy - idle) * load, with constants by kind of machine.

The constants are typical figures at the board's input, processor load only, from the makers' documentation and
published measurements; expect them to be right within a third. Somebody with a meter can do better:
STAGELINE_IDLE_W and STAGELINE_BUSY_W replace them, and a smart plug replaces the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.device import Power, PowerModel
from services.capacity import Capacity
from services.monitor.machine import Kind


@dataclass(frozen=True, slots=True)
class Typical:
    """Watts at rest and with every core busy."""

    idle_w: float
    busy_w: float


TYPICAL: Final[dict[Kind, Typical]] = {
    "pi-zero-2": Typical(0.6, 2.2),
    "pi-3": Typical(1.7, 5.1),
    "pi-4": Typical(2.7, 6.4),
    "pi-5": Typical(3.0, 8.0),
    "jetson-nano": Typical(1.5, 6.5),
    "jetson-orin-nano": Typical(4.5, 12.0),
    "jetson": Typical(6.0, 22.0),
    "arm-board": Typical(2.0, 7.0),
    "laptop": Typical(7.0, 30.0),
    "desktop": Typical(35.0, 110.0),
    "virtual": Typical(10.0, 40.0),
    "other": Typical(10.0, 40.0),
}


def power_model(kind: Kind, size: Capacity, *, idle_w: float | None = None, busy_w: float | None = None) -> PowerModel:
    """The two constants for this device and where they are from.

    A device that may use only part of its cores draws the whole machine's idle watts, and only its part of the rest.
    What the owner says (`idle_w` and `busy_w`, both or neither) is taken as it is: it is about the device in use.
    """
    if idle_w is not None and busy_w is not None:
        return PowerModel(idle_w=idle_w, busy_w=busy_w, method="modelled", source="STAGELINE_IDLE_W, STAGELINE_BUSY_W")
    typical = TYPICAL[kind]
    part = min(1.0, size.capacity_cores / size.cores)
    busy = typical.idle_w + (typical.busy_w - typical.idle_w) * part
    of_cores = "" if part == 1.0 else f", {size.capacity_cores:g} of {size.cores} cores"
    return PowerModel(
        idle_w=typical.idle_w,
        busy_w=round(busy, 3),
        method="modelled",
        source=f"typical {kind}{of_cores}",
    )


def modelled_power(model: PowerModel, load: float, *, instead_of: str = "") -> Power:
    """Watts by the formula, with the formula as the source.

    Args:
        load: busy share of the capacity, 0 to 1.
        instead_of: a sensor that should have told, when one has fallen silent.
    """
    silent = f"; {instead_of} is silent" if instead_of else ""
    return Power(
        watts=round(model.idle_w + (model.busy_w - model.idle_w) * load, 3),
        method="modelled",
        source=f"{model.idle_w:g} W + {model.busy_w - model.idle_w:g} W * load ({model.source}){silent}",
    )
