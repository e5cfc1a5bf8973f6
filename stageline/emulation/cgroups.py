"""A Linux control group per device: CPU quota and memory limit, enforced by the kernel (cgroup v1 and v2)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 10_000
"""Short, so that a throttled device is evenly slow and not alternately fast and stopped."""

_LEAST_QUOTA_US: Final = 1000
"""The kernel's; a device of less than a tenth of a core gets a longer period for it."""

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

    def entering(self) -> list[str]:
        """A command prefix: what follows begins in the group, so nothing that it starts or holds escapes the limits."""
        join = [
            f"echo $$ >{shlex.quote(str(folder / 'cgroup.procs'))}" for folder in sorted(set(self.folders.values()))
        ]
        return ["sh", "-c", " && ".join([*join, 'exec "$@"']), "enter"]

    def add(self, pid: int) -> None:
        """Move a process (all its threads) into the group; its later children follow."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def set_cores(self, cores: float) -> None:
        """Limit the group's CPU time to `cores` seconds per second."""
        period_us = max(PERIOD_US, ceil(_LEAST_QUOTA_US / cores))
        quota_us = round(cores * period_us)
        if self.version == 2:
            (self.folders["cpu"] / "cpu.max").write_text(f"{quota_us} {period_us}")
        else:
            (self.folders["cpu"] / "cpu.cfs_period_us").write_text(str(period_us))
            (self.folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota_us))

    def set_memory(self, limit_bytes: int | None) -> None:
        """Limit the group's memory; None lifts the limit. While there is one, nothing is swapped: a Pi has no swap."""
        folder, limited = self.folders["memory"], limit_bytes is not None
        if self.version == 2:
            (folder / "memory.max").write_text(str(limit_bytes) if limited else "max")
            if (folder / "memory.swap.max").exists():  # Only where the kernel counts swap.
                (folder / "memory.swap.max").write_text("0" if limited else "max")
        else:
            (folder / "memory.limit_in_bytes").write_text(str(limit_bytes) if limited else "-1")
            if limited:
                (folder / "memory.swappiness").write_text("0")

    def pids(self) -> list[int]:
        """Processes in the group now."""
        return [int(pid) for pid in (self.folders["cpu"] / "cgroup.procs").read_text().split()]

    def remove(self) -> None:
        """Give the group back once its processes are gone (waits for the kernel to let go of them)."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for folder in set(self.folders.values()):
            _remove(folder, deadline)

    def release(self) -> None:
        """End whatever is still in the group, children of children included, and give the group back."""
        _kill(self.folders["cpu"])
        self.remove()


def make_group(device: str, cores: float, memory_bytes: int | None = None, *, mount: Path = MOUNT) -> ControlGroup:
    """A new group for one device of this process, limited to `cores`, and to so much memory when that is given.

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
        if memory_bytes is not None:
            group.set_memory(memory_bytes)
    except OSError as error:
        for parent in parents.values():
            with suppress(OSError):
                (parent / name).rmdir()
        raise NoCgroupsError(f"no control group could be made: {error.strerror} ({error.filename})") from error
    return group


def sweep(*, mount: Path = MOUNT) -> list[str]:
    """Remove empty groups left by runs that were killed; returns their names."""
    removed = set()
    for folder in _folders("*", mount):
        owner = re.fullmatch(rf"{_PREFIX}-(\d+)-.+", folder.name)
        if owner and not Path("/proc", owner[1]).exists():
            with suppress(OSError):  # Still in use: not ours to take away.
                folder.rmdir()
                removed.add(folder.name)
    return sorted(removed)


def end_groups_of(owner: int, *, mount: Path = MOUNT) -> None:
    """End every process in the groups that this process made, and remove the groups."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    folders = _folders(str(owner), mount)
    for folder in folders:
        _kill(folder)
    for folder in folders:
        _remove(folder, deadline)


def _folders(owner: str, mount: Path) -> list[Path]:
    parents = (mount, mount / "cpu", mount / "memory")
    return [folder for parent in parents for folder in parent.glob(f"{_PREFIX}-{owner}-*")]


def _kill(folder: Path) -> None:
    """SIGKILL, again and again: a process may start another between our look and our signal."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    with suppress(FileNotFoundError):  # Somebody else removed it meanwhile.
        while time.monotonic() < deadline and (pids := (folder / "cgroup.procs").read_text().split()):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.005)


def _remove(folder: Path, deadline: float) -> None:
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
