"""What keeps an emulated device slow: the kernel's quota where it is permitted, else stopping and continuing."""

from __future__ import annotations

from typing import Protocol

from stageline.emulation.cgroups import ControlGroup, NoCgroupsError, make_group
from stageline.emulation.duty_cycle import DutyCycle


class Limiter(Protocol):
    """A limit that processes are put under: begin their command with `entering()`, then `add` them."""

    @property
    def method(self) -> str:
        """How it limits, for people."""

    def entering(self) -> list[str]:
        """A command prefix that starts a process under the limit; empty when there is none."""

    def add(self, pid: int) -> None:
        """Put a process under the limit."""

    def set_cores(self, cores: float) -> None:
        """Change the limit."""

    def release(self) -> None:
        """Lift the limit and forget it."""


def limit(device: str, cores: float, memory_bytes: int | None = None) -> Limiter:
    """The best limiter that is permitted here; a `DutyCycle` limits no memory."""
    try:
        return make_group(device, cores, memory_bytes)
    except NoCgroupsError:
        return DutyCycle(device, cores).start()


def enforced(limiter: Limiter) -> bool:
    """Whether the kernel enforces it, memory included, and those under it can read there what they have."""
    return isinstance(limiter, ControlGroup)
