"""A fleet in a file: the devices that somebody wants emulated (or only planned for), and how their links are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from schemas.base import Cores, Milliseconds, Name, Text, Watts
from stageline.written_file import BadFileError, Part, read_file

CORES_HERE_MIN: Final = 1e-3
"""Real cores: with less, not even a service of ours would start in any time."""
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class BadFleetError(BadFileError):
    """A fleet file that cannot be used; the message names the file and the field, and says what to write instead."""


class FleetPower(Part):
    """Watts of a device when idle and when all of its cores are busy: a model of it, not a measurement."""

    idle_w: Watts
    busy_w: Watts

    @model_validator(mode="after")
    def _more_when_busy(self) -> Self:
        if self.busy_w < self.idle_w:
            raise ValueError(f"busy_w ({self.busy_w:g}) must not be less than idle_w ({self.idle_w:g})")
        return self


class FleetLink(Part):
    """A device's way to the hub: megabits per second each way, and the delay of one way."""

    up_mbps: Rate
    down_mbps: Rate
    delay_ms: Annotated[Milliseconds, Field(le=10_000)] = 0.0


class FleetDevice(Part):
    """One device; `cores` is what it is said to have, not what it gets here (see `FleetFile.cores_here`)."""

    name: Name
    cores: Cores
    memory_mb: Annotated[int, Field(ge=64, le=2**24)] | None = None
    """Memory its services may hold together, in MiB; None does not limit them."""
    power: FleetPower | None = None
    link: FleetLink | None = None
    """None: as fast as this machine moves bytes."""

    @property
    def memory_bytes(self) -> int | None:
        """`memory_mb` in bytes."""
        return None if self.memory_mb is None else self.memory_mb << 20


class FleetFile(Part):
    """Some devices; `scale` is how many real cores stand for one stated core, the same for all of them."""

    name: Annotated[Text, Field(min_length=1)]
    about: Text = ""
    scale: Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)] = 1.0
    device: Annotated[tuple[FleetDevice, ...], Field(min_length=1, strict=False)]

    @property
    def devices(self) -> tuple[FleetDevice, ...]:
        """The devices, in the file's order."""
        return self.device

    @property
    def total_cores(self) -> float:
        """Real cores that all of the fleet uses here."""
        return sum(self.cores_here(device) for device in self.device)

    def cores_here(self, device: FleetDevice) -> float:
        """Real cores that this device may use here."""
        return device.cores * self.scale

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = Counter(device.name for device in self.device)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ValueError(f"two devices are named {twice[0]!r}: give each a name of its own")
        return self

    @model_validator(mode="after")
    def _enough_to_compute(self) -> Self:
        least = min(self.device, key=self.cores_here)
        if self.cores_here(least) < CORES_HERE_MIN:
            raise ValueError(
                f"{least.name} would get {self.cores_here(least):g} real cores (cores x scale): make it at least "
                f"{CORES_HERE_MIN:g}"
            )
        return self


def load_fleet(path: Path) -> FleetFile:
    """Read a fleet file (TOML; `bench/fleets` has examples).

    Raises:
        BadFleetError: there is no such file, it is no TOML, or a field is missing, unknown or out of range.
    """
    return read_file(path, FleetFile, "fleet", BadFleetError)
