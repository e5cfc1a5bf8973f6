"""Carries a trace out on a testbed, at its times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from bench.adaptive.trace import Change, What
from stageline.emulation.fleet_file import FleetFile, FleetLink

AS_FAST_AS_IT_GOES: Final = FleetLink(up_mbps=100_000, down_mbps=100_000)
"""Of a device whose fleet file limits no link."""


class Burdened(Protocol):
    """An emulated device."""

    def burden(self, programs: int) -> None:
        """Have so many other programs compute on it."""


class Changeable(Protocol):
    """The part of a testbed that a trace changes."""

    @property
    def fleet(self) -> FleetFile:
        """What it is like when nothing is disturbed."""

    @property
    def links(self) -> object | None:
        """The emulated network, where there is one."""

    def device(self, name: str) -> Burdened:
        """The device of that name."""

    def set_cores(self, name: str, cores_here: float) -> None:
        """Give a device so many real cores."""

    def set_link(self, name: str, link: FleetLink) -> bool:
        """Change a device's link."""


def kinds_of(bed: Changeable) -> tuple[What, ...]:
    """What can change there: links only where they are emulated."""
    return ("load", "cores", "link") if bed.links is not None else ("load", "cores")


async def replay(bed: Changeable, trace: Sequence[Change], begin_s: float, tell: Callable[[Change], None]) -> None:
    """Carry out every change at its time.

    Args:
        bed: what is changed.
        trace: in order of time.
        begin_s: when the trace's time is 0, by the event loop's clock.
        tell: told each change as it is made.
    """
    clock = asyncio.get_running_loop().time
    for change in trace:
        await asyncio.sleep(begin_s + change.at_s - clock())
        tell(change)
        # In a thread: whoever submits at an even pace on this loop must not be held up.
        await asyncio.to_thread(apply, bed, change)


def apply(bed: Changeable, change: Change) -> None:
    """Make one change; blocks for some milliseconds."""
    device = next(one for one in bed.fleet.devices if one.name == change.device)
    match change.what:
        case "load":
            bed.device(device.name).burden(int(change.value or 0))
        case "cores":
            share = 1.0 if change.value is None else change.value
            bed.set_cores(device.name, bed.fleet.cores_here(device) * share)
        case "link":
            stated = device.link or AS_FAST_AS_IT_GOES
            slow = FleetLink(up_mbps=change.value, down_mbps=change.value) if change.value is not None else stated
            bed.set_link(device.name, slow)
