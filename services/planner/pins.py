"""Pins: blocks that must run on a named device ("raw pixels never leave the camera")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.deployment import Pin
from services.planner.errors import PlanningError


class PinError(PlanningError):
    """Pins that contradict one another, the model or the fleet."""


def check_pins(pins: Sequence[Pin], blocks: int, devices: Sequence[str]) -> None:
    """Check that pins can be kept by the named devices, each of which runs one stage of a route.

    Raises:
        PinError: says which pin, and what to do.
    """
    owner: dict[int, str] = {}
    for pin in pins:
        if pin.device not in devices:
            raise PinError(
                f"blocks [{pin.first}:{pin.last}) are pinned on {pin.device}, which is not usable now "
                f"(usable: {', '.join(devices)}): bring it back or remove the pin"
            )
        if pin.last > blocks:
            raise PinError(f"pin [{pin.first}:{pin.last}) on {pin.device} goes beyond the model's {blocks} blocks")
        for block in range(pin.first, pin.last):
            if owner.setdefault(block, pin.device) != pin.device:
                raise PinError(f"block {block} is pinned on both {owner[block]} and {pin.device}: remove one pin")
    for device in sorted(set(owner.values())):
        held = [block for block, name in owner.items() if name == device]
        between = {owner.get(block, device) for block in range(min(held), max(held))} - {device}
        if between:
            raise PinError(
                f"pins on {device} lie on both sides of a pin on {min(between)}, and a device runs one stage "
                "of a route: move one pin"
            )


def allowed(pins: Sequence[Pin], devices: Sequence[str], positions: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Stages that take no block pinned elsewhere, shape (devices, P, P): device, first and last position."""
    first, last = positions[:, None], positions[None, :]
    keeps = np.ones((len(devices), len(positions), len(positions)), dtype=np.bool_)
    for pin in pins:
        overlaps = (first < pin.last) & (last > pin.first)
        for index, device in enumerate(devices):
            if device != pin.device:
                keeps[index] &= ~overlaps
    return keeps
