"""Joules by one formula for every system that runs on an emulated fleet: modelled, and said so.

A device's power model is `idle_w + (busy_w - idle_w) * load`. What a request is charged is the time that it keeps a
device busy, at the power of a busy device: `busy_w * cpu_s / cores`. What devices draw while they wait is charged to
nobody, since it depends on how long the others let them wait, not on the request.
"""

from __future__ import annotations

from collections.abc import Mapping

from stageline.emulation.fleet_file import FleetFile


class NoPowerModelError(ValueError):
    """A device without watts in its fleet file; says what to add."""

    def __init__(self, device: str) -> None:
        super().__init__(f"{device} has no power model: add power = {{ idle_w = ..., busy_w = ... }} to the fleet file")


def active_energy_j(fleet: FleetFile, cpu_s: Mapping[str, float]) -> float:
    """Joules for CPU seconds by device.

    Args:
        fleet: whose power models count.
        cpu_s: CPU seconds by device name. A key that names no device is a process that had the cores of all of them
            ("all cores"), and is shared out by cores; "submitter" is no device's.

    Raises:
        NoPowerModelError: a device has none.
    """
    joules = 0.0
    names = {device.name for device in fleet.devices}
    shared_s = sum(seconds for key, seconds in cpu_s.items() if key not in {*names, "submitter"})
    for device in fleet.devices:
        if device.power is None:
            raise NoPowerModelError(device.name)
        cores = fleet.cores_here(device)
        seconds = cpu_s.get(device.name, 0.0) + shared_s * cores / fleet.total_cores
        joules += device.power.busy_w * seconds / cores
    return joules


def source(fleet: FleetFile) -> str:
    """Where such joules are from, in words."""
    return f"busy_w of fleet {fleet.name} x CPU seconds / cores"
