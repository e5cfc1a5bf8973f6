"""What this device can really use: a systemd CPUQuota, a container limit or an affinity mask is the real machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.cgroup import MemoryRoom, find_groups


@dataclass(frozen=True, slots=True)
class Capacity:
    """Size of the device now; `cores` is what the machine has, `capacity_cores` what we may use of it.

    `quota_period_ms` is how often a quota is renewed; 0 where none is what limits.
    """

    cores: int
    capacity_cores: float
    memory_bytes: int
    memory_free_bytes: int
    quota_period_ms: float = 0.0


def capacity(declared_cores: float | None = None, *, root: Path = Path("/")) -> Capacity:
    """Read affinity, cgroup limits and memory.

    Args:
        declared_cores: at most this many, where the owner lends only part of the machine (a setting).
        root: where `/proc/self` and the cgroup file systems are looked for.
    """
    groups = find_groups(root)
    quota = groups.quota()
    cores = os.cpu_count() or 1
    memory = psutil.virtual_memory()
    limit, free = usable_memory(memory.total, memory.available, groups.memory_rooms())
    usable = usable_cores(cores, len(allowed_cpus()), quota.cores if quota else None, declared_cores)
    period_ms = quota.limit.period_us / 1000 if quota and quota.cores <= usable else 0.0
    return Capacity(cores, usable, limit, free, period_ms)


def allowed_cpus() -> frozenset[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))  # macOS has no affinity masks


def usable_cores(cores: int, allowed: int, quota: float | None, declared: float | None) -> float:
    """The least of the machine's cores, the affinity mask, the quota and what the owner declared."""
    return min(float(cores), float(allowed), *(limit for limit in (quota, declared) if limit is not None))


def usable_memory(total: int, available: int, rooms: list[MemoryRoom]) -> tuple[int, int]:
    """Least limit and least free, bytes, of the machine and every cgroup level above us."""
    return min([total, *(room.limit_bytes for room in rooms)]), min([available, *(room.free_bytes for room in rooms)])


def threads_for(capacity_cores: float) -> int:
    """Compute threads for that many cores: a thread that waits for quota holds the others up, so round down."""
    return max(1, int(capacity_cores))
