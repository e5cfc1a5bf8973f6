"""What a monitor can be told."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from services.settings import DeviceSettings

Watts = Annotated[float, Field(ge=0, le=10_000)]


class MonitorSettings(DeviceSettings):
    """Settings of the monitor; each is `STAGELINE_<NAME>` in the environment and a flag of `stageline-monitor`."""

    telemetry_period_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    link_period_s: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """Between link probes, once the first few have settled the picture."""
    plug_topic: Annotated[str, Field(pattern=r"^[^+#/][^+#]{0,511}/[^+#/]+$")] | None = None
    """Whole topic on the same broker where this device's smart plug tells its watts (Tasmota SENSOR, Zigbee2MQTT)."""
    idle_w: Watts | None = None
    busy_w: Watts | None = None
    """Watts of this device idle and fully busy, if its owner knows them better than our table."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.idle_w is None) != (self.busy_w is None):
            raise ValueError("give STAGELINE_IDLE_W and STAGELINE_BUSY_W together")
        if self.idle_w is not None and self.busy_w is not None and self.busy_w < self.idle_w:
            raise ValueError(f"STAGELINE_BUSY_W {self.busy_w} is less than STAGELINE_IDLE_W {self.idle_w}")
        return self
