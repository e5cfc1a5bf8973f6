"""The control groups this process lives in, version 1 or 2: CPU quota, memory limit, and what has been used of both.

A limit set on a parent binds its children, so every level from our own group up to the mount point counts.
Missing and unreadable files mean "no limit": that is what they mean to the kernel's other readers too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

_UNLIMITED_BYTES: Final = 1 << 60
"""Version 1 writes "no limit" as the largest page-aligned number; nothing real comes near."""

_NAMES_V1: Final = ("total_inactive_file", "total_active_file", "total_mapped_file")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo that is a cgroup hierarchy."""

    point: str
    subtree: str
    """What of the hierarchy is mounted there; not `/` inside some containers."""
    version: Literal[1, 2]
    controllers: frozenset[str]


class CpuLimit(NamedTuple):
    """`quota_us` of CPU time in every `period_us`."""

    quota_us: int
    period_us: int

    @property
    def cores(self) -> float:
        """CPU seconds per second."""
        return self.quota_us / self.period_us


@dataclass(frozen=True, slots=True)
class Quota:
    """A CPU limit and the directory that sets it."""

    limit: CpuLimit
    directory: Path
    version: Literal[1, 2]

    @property
    def cores(self) -> float:
        """CPU seconds per second."""
        return self.limit.cores


@dataclass(frozen=True, slots=True)
class MemoryRoom:
    """One level's memory limit and how much of it is free (reclaimable file cache counts as free)."""

    limit_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Groups:
    """Directories from our own group up to the mount point, nearest first, per controller."""

    cpu: tuple[Path, ...]
    cpu_version: Literal[1, 2]
    cpu_usage: tuple[Path, ...]
    memory: tuple[Path, ...]
    memory_version: Literal[1, 2]

    def quota(self) -> Quota | None:
        """The tightest CPU limit on the way up, or None."""
        quotas = (self._quota_of(directory) for directory in self.cpu)
        return min((quota for quota in quotas if quota), key=lambda quota: quota.cores, default=None)

    def _quota_of(self, directory: Path) -> Quota | None:
        if self.cpu_version == 2:
            limit = parse_cpu_max(_read(directory / "cpu.max"))
        else:
            limit = parse_cfs(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))
        return Quota(limit, directory, self.cpu_version) if limit else None

    def memory_rooms(self) -> list[MemoryRoom]:
        """Every level that has a memory limit."""
        rooms = (self._room_of(directory) for directory in self.memory)
        return [room for room in rooms if room]

    def _room_of(self, directory: Path) -> MemoryRoom | None:
        two = self.memory_version == 2
        limit = parse_limit(_read(directory / ("memory.max" if two else "memory.limit_in_bytes")))
        if limit is None:
            return None
        used = parse_limit(_read(directory / ("memory.current" if two else "memory.usage_in_bytes"))) or 0
        stat = parse_stat(_read(directory / "memory.stat"))
        names = ("inactive_file", "active_file", "file_mapped")
        cache = spare_cache(*(stat.get(name) for name in (names if two else _NAMES_V1)))
        return MemoryRoom(limit, max(0, limit - max(0, used - cache)))

    def used_cpu_s(self, quota: Quota) -> float | None:
        """CPU seconds used so far by the group that `quota` is set on, children included; None where nobody counts.

        Version 1 can mount the accounting apart from the quota, with us in another group there: then it counts
        the wrong processes, and None is said instead.
        """
        if quota.version == 2:
            usec = parse_stat(_read(quota.directory / "cpu.stat")).get("usage_usec")
            return None if usec is None else usec / 1e6
        levels_up = self.cpu.index(quota.directory)
        if len(self.cpu_usage) != len(self.cpu):
            return None
        directory = self.cpu_usage[levels_up]
        if [path.name for path in self.cpu_usage[:-1]] != [path.name for path in self.cpu[:-1]]:
            return None
        text = _read(directory / "cpuacct.usage").strip()
        return int(text) / 1e9 if text.isdigit() else None


def spare_cache(inactive: int | None, active: int | None, mapped: int | None) -> int:
    """File cache that the kernel takes back before it refuses anybody, bytes; None is a figure that it does not give.

    Cache is active once it was read twice, as weights are that were checked against their hash: spare all the same,
    unless a program has mapped it, as a stage has its weights.
    """
    unmapped = 0 if active is None or mapped is None else max(0, active - mapped)
    return (inactive or 0) + unmapped


def members(quota: Quota) -> list[int]:
    """Process ids in the quota's group and the groups below it."""
    listings = [quota.directory / "cgroup.procs", *quota.directory.glob("**/cgroup.procs")]
    return sorted({int(line) for path in listings for line in _read(path).split() if line.isdigit()})


def find_groups(root: Path = Path("/")) -> Groups:
    """Where this process stands, from `/proc/self` below `root` (a recorded tree in tests)."""
    return _groups(root, _read(root / "proc/self/mountinfo"), _read(root / "proc/self/cgroup"))


@lru_cache(maxsize=4)
def _groups(root: Path, mountinfo: str, cgroup: str) -> Groups:
    """Asked every second, and the answer hardly ever changes."""
    mounts, memberships = parse_mountinfo(mountinfo), parse_memberships(cgroup)

    def chain(controller: str) -> tuple[tuple[Path, ...], Literal[1, 2]]:
        for mount in mounts:
            if mount.version == 1 and controller in mount.controllers and controller in memberships:
                return _directories(root, mount, memberships[controller]), 1
        for mount in mounts:
            if mount.version == 2:
                return _directories(root, mount, memberships.get("", "/")), 2
        return (), 2

    cpu, cpu_version = chain("cpu")
    memory, memory_version = chain("memory")
    return Groups(cpu, cpu_version, chain("cpuacct")[0], memory, memory_version)


def _directories(root: Path, mount: Mount, membership: str) -> tuple[Path, ...]:
    """From our group up to the mount point; only the mount point when our path lies outside of what is mounted."""
    top = root / mount.point.lstrip("/")
    path = PurePosixPath(membership)
    if not path.is_relative_to(mount.subtree) or ".." in path.parts:
        return (top,)
    own = top / path.relative_to(mount.subtree)
    if not own.is_dir():
        return (top,)
    return tuple(directory for directory in (own, *own.parents) if directory.is_relative_to(top))


def parse_memberships(text: str) -> dict[str, str]:
    """Path per controller from `/proc/self/cgroup`; the unified hierarchy's is under `""`."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            paths.update(dict.fromkeys(fields[1].split(","), fields[2]))
    return paths


def parse_mountinfo(text: str) -> list[Mount]:
    """The cgroup hierarchies in `/proc/self/mountinfo` (fields: man 5 proc)."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" ", 2), "", ""][:3]
        fields = before.split(" ")
        if kind in ("cgroup", "cgroup2") and len(fields) >= 5:
            version: Literal[1, 2] = 2 if kind == "cgroup2" else 1
            mounts.append(Mount(fields[4], fields[3], version, frozenset(options.split(","))))
    return mounts


def parse_cpu_max(text: str) -> CpuLimit | None:
    """The limit in version 2's `cpu.max` ("50000 100000", "max 100000"); None is no limit."""
    quota, _, period = text.strip().partition(" ")
    return CpuLimit(int(quota), int(period)) if quota.isdigit() and period.isdigit() and int(period) else None


def parse_cfs(quota: str, period: str) -> CpuLimit | None:
    """The limit in version 1's `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a quota of -1 is no limit."""
    return parse_cpu_max(f"{quota.strip()} {period.strip()}")


def parse_limit(text: str) -> int | None:
    """Bytes from `memory.max`, `memory.limit_in_bytes` and their like; None for "max" and version 1's huge number."""
    word = text.strip()
    return int(word) if word.isdigit() and int(word) < _UNLIMITED_BYTES else None


def parse_stat(text: str) -> dict[str, int]:
    """`memory.stat` or `cpu.stat`: one `name number` per line."""
    pairs: Iterable[list[str]] = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
