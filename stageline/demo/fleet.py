"""The demo's machines: three unequal devices, with a private broker and a planner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from broker.embedded import EmbeddedBroker
from stageline.emulation.device import EmulatedDevice
from stageline.emulation.house import House, inhabited

DEVICES: Final = {"jetson": 0.6, "pi4": 0.35, "pi3": 0.2}
"""Cores each may use. Together 1.15, so that two real cores leave air for the broker and whoever asks."""


@contextmanager
def house(
    folder: Path,
    library: Path,
    cores: Mapping[str, float] = DEVICES,
    environment: Mapping[str, str] | None = None,
) -> Iterator[House]:
    """Start everything; end everything, in order, whatever happens.

    Args:
        folder: for logs and the devices' blobs.
        library: the planner's model library; models may be imported into it at any time.
        cores: the devices and what each may use.
        environment: further `STAGELINE_...` settings of every device.
    """
    with EmbeddedBroker() as broker:
        devices = tuple(
            EmulatedDevice(name, share, folder=folder / name, broker=broker.url, environment=environment)
            for name, share in cores.items()
        )
        with inhabited(broker, devices, folder=folder, library=library) as running:
            yield running
