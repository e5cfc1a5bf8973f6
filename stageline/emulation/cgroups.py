"""A Linux control group per device: CPU quota and memory limit, enforced by the kernel (cgroup v1 and v2)."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 10_000
"""Short, so that a throttled device is evenly slow and not alternately fast and stopped."""

_PREFIX: Final = "stageline"
_REMOVE_TIMEOUT_S: Final = 5.0


class NoCgroupsError(RuntimeError):
    """Control groups cannot be made here; the message says why. The duty-cycle limiter works without."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """One device's group; `folders` are its places in the mounted hierarchies (one in v2, one per controller in v1)."""

    name: str
    folders: dict[str, Path]
    version: int

    @property
    def method(self) -> str:
        """How it limits, for people."""
        return f"cgroup v{self.version} CPU quota, {PERIOD_US // 1000} ms period"

    def add(self, pid: int) -> None:
        """Move a process (all its threads) into the group; its later children follow."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def set_cores(self, cores: float) -> None:
        """Limit the group's CPU time to `cores` seconds per second."""
        quota_us = max(1000, round(cores * PERIOD_US))
        if self.version == 2:
            (self.folders["cpu"] / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (self.folders["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota_us))

    def set_memory(self, limit_bytes: int | None) -> None:
        """Limit the group's memory; None lifts the limit."""
        if self.version == 2:
            (self.folders["memory"] / "memory.max").write_text("max" if limit_bytes is None else str(limit_bytes))
        else:
            (self.folders["memory"] / "memory.limit_in_bytes").write_text(str(limit_bytes or -1))

    def pids(self) -> list[int]:
        """Processes in the group now."""
        return [int(pid) for pid in (self.folders["cpu"] / "cgroup.procs").read_text().split()]

    def remove(self) -> None:
        """Give the group back once its processes are gone (waits for the kernel to let go of them)."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for folder in set(self.folders.values()):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)


def make_group(device: str, cores: float, *, mount: Path = MOUNT) -> ControlGroup:
    """A new group for one device of this process, limited to `cores`.

    Raises:
        NoCgroupsError: not Linux, not mounted, or not permitted.
    """
    name = f"{_PREFIX}-{os.getpid()}-{device}"
    version = 2 if (mount / "cgroup.controllers").exists() else 1
    parents = {"cpu": mount, "memory": mount} if version == 2 else {"cpu": mount / "cpu", "memory": mount / "memory"}
    try:
        if version == 2:
            (mount / "cgroup.subtree_control").write_text("+cpu +memory")
        folders = {}
        for controller, parent in parents.items():
            folder = parent / name
            folder.mkdir(exist_ok=True)
            folders[controller] = folder
        group = ControlGroup(name, folders, version)
        group.set_cores(cores)
    except OSError as error:
        for parent in parents.values():
            with suppress(OSError):
                (parent / name).rmdir()
        raise NoCgroupsError(f"no control group could be made: {error.strerror} ({error.filename})") from error
    return group


def sweep(*, mount: Path = MOUNT) -> list[str]:
    """Remove empty groups left by runs that were killed; returns their names."""
    removed = set()
    for parent in (mount, mount / "cpu", mount / "memory"):
        for folder in parent.glob(f"{_PREFIX}-*"):
            owner = re.fullmatch(rf"{_PREFIX}-(\d+)-.+", folder.name)
            if owner and not Path("/proc", owner[1]).exists():
                with suppress(OSError):  # Still in use: not ours to take away.
                    folder.rmdir()
                    removed.add(folder.name)
    return sorted(removed)
