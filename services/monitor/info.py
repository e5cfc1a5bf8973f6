"""What does not change while the device is up: its size, its make, what is installed on it."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from broker.bus import Bus
from broker.errors import BrokerUnreachableError
from schemas.device import DeviceInfo, PowerModel
from schemas.topics import DEVICE_INFO
from services.capacity import Capacity
from services.monitor.machine import Machine

_PACKAGES: Final = ("stageline", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "aiomqtt", "paho-mqtt")
_LOOK_AGAIN_S: Final = 1.0


def installed_versions() -> dict[str, str]:
    """Versions of what matters to a stage, read from package metadata: importing a runtime would cost its memory."""
    versions = {"python": platform.python_version(), "kernel": f"{platform.system()} {platform.release()}"}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@dataclass(frozen=True)
class InfoTeller:
    """Says what this device is."""

    device: str
    boot_id: str
    machine: Machine
    size: Callable[[], Capacity]
    power: Callable[[Capacity], PowerModel]

    def describe(self, size: Capacity, versions: dict[str, str]) -> DeviceInfo:
        """The message."""
        return DeviceInfo(
            device=self.device,
            boot_id=self.boot_id,
            hostname=socket.gethostname(),
            machine=self.machine.model,
            architecture=platform.machine(),
            cores=size.cores,
            capacity_cores=size.capacity_cores,
            quota_period_ms=size.quota_period_ms,
            memory_bytes=size.memory_bytes,
            accelerator=self.machine.accelerator,
            versions=versions,
            power=self.power(size),
        )

    async def keep_telling(self, bus: Bus) -> None:
        """Publish `DEVICE_INFO` at once, and again when it changes: somebody may change a CPUQuota while it runs."""
        versions = installed_versions()
        told: DeviceInfo | None = None
        while True:
            info = self.describe(self.size(), versions)
            if info != told:
                told = info
                with contextlib.suppress(BrokerUnreachableError):  # the bus remembers it for the reconnect
                    await bus.publish(DEVICE_INFO, info, device=self.device)
            await asyncio.sleep(_LOOK_AGAIN_S)
