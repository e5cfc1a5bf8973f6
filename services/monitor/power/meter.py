"""The one source of watts of this device, chosen once at the start, with the model behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from schemas.device import Power, PowerModel
from services.capacity import Capacity
from services.monitor.command import Runner, run_command
from services.monitor.machine import Machine
from services.monitor.power.fit import PowerFit
from services.monitor.power.ina3221 import Ina3221
from services.monitor.power.model import modelled_power
from services.monitor.power.plug import Plug
from services.monitor.power.pmic import Pmic
from services.monitor.power.rapl import Rapl
from services.monitor.power.sensor import PowerSensor

logger = logging.getLogger(__name__)


async def choose_sensor(
    machine: Machine, *, plug: Plug | None = None, root: Path = Path("/"), run: Runner = run_command
) -> PowerSensor | None:
    """The sensor that sees most of the device: a plug sees all of it, a board's rails most, RAPL the processor."""
    sensor: PowerSensor | None = plug or Ina3221.find(root=root)
    if sensor is None and machine.kind == "pi-5":
        sensor = await Pmic.find(run=run)
    return sensor or Rapl.find(root=root)


class PowerMeter:
    """Watts now: measured where the chosen sensor speaks, modelled where there is none or it is silent.

    Args:
        typical: the table's constants for this device at a given size.
    """

    def __init__(self, sensor: PowerSensor | None, typical: Callable[[Capacity], PowerModel]) -> None:
        self._sensor = sensor
        self._typical = typical
        self._silent = False
        self._fit = PowerFit()
        self._last: float | None = None

    @property
    def source(self) -> str:
        """What was chosen, for the log."""
        return f"measured: {self._sensor.source}" if self._sensor else "modelled"

    def model(self, size: Capacity) -> PowerModel:
        """Idle and busy watts: learnt from the sensor once its readings allow, typical ones until then."""
        line = self._fit.line
        if line is None or self._sensor is None:
            return self._typical(size)
        source = f"fitted to {self._sensor.source}"
        return PowerModel(idle_w=line.idle_w, busy_w=line.busy_w, method="measured", source=source)

    async def read(self, load: float, size: Capacity) -> Power:
        """One figure with its method and source.

        Args:
            load: busy share of the capacity, for the model.
            size: the device as it is now, for the model.
        """
        if self._sensor is None:
            return modelled_power(self.model(size), load)
        watts = await self._sensor.watts()
        if (watts is None) != self._silent:
            self._silent = watts is None
            logger.warning("the power sensor %s", "is silent" if self._silent else "speaks again")
        if watts is None:
            return modelled_power(self.model(size), load, instead_of=self._sensor.source)
        if watts != self._last:  # a figure that is merely repeated belongs to an earlier load
            self._last = watts
            self._fit.add(load, watts)
        return Power(watts=round(watts, 3), method="measured", source=self._sensor.source)
