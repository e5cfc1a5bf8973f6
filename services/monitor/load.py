"""How busy the device is: the share of its capacity in use, by everything that shares that capacity.

Under a CPU quota the capacity is the group's, so the group's own use counts; otherwise it is the CPUs that we may run
on, and everything that runs on them counts.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from services.capacity import allowed_cpus
from services.cgroup import find_groups, members

_IDLE_FIELDS: Final = ("idle", "iowait")
_COUNTED_TWICE: Final = ("guest", "guest_nice")


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU seconds used since some fixed moment, by group or CPU or process; `at_s` is monotonic.

    Kept apart by part, because processes end: what they used must not be taken from what the others use.
    """

    at_s: float
    scope: str
    """What was counted; two readings of different things have no difference."""
    used_s: dict[int, float]
    available_cores: float


def busy_share(before: CpuUse, after: CpuUse) -> float:
    """Share of the capacity used between two readings, 0 to 1; 0 when they counted different things."""
    elapsed = after.at_s - before.at_s
    if elapsed <= 0 or before.scope != after.scope:
        return 0.0
    used = sum(max(0.0, now - before.used_s[part]) for part, now in after.used_s.items() if part in before.used_s)
    return min(1.0, used / (elapsed * after.available_cores))


class LoadMeter:
    """Busy share between one call of `read` and the next; the first covers the time since `__init__`."""

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._before = self._sample()

    def read(self) -> float:
        """Busy share since the last call, 0 to 1."""
        after = self._sample()
        share = busy_share(self._before, after)
        self._before = after
        return share

    def _sample(self) -> CpuUse:
        # Looked up each time: a process can be moved to another group while it runs.
        groups, allowed = find_groups(self._root), allowed_cpus()
        quota = groups.quota()
        now = time.monotonic()
        if quota is None or quota.cores >= len(allowed):
            return CpuUse(now, "machine", _machine_use(allowed), len(allowed))
        used = groups.used_cpu_s(quota)
        if used is None:
            return CpuUse(now, f"processes of {quota.directory}", _process_use(members(quota), self._root), quota.cores)
        return CpuUse(now, str(quota.directory), {0: used}, quota.cores)


def _machine_use(cpus: frozenset[int]) -> dict[int, float]:
    per_cpu = psutil.cpu_times(percpu=True)
    return {
        cpu: sum(per_cpu[cpu]) - sum(getattr(per_cpu[cpu], field, 0.0) for field in (*_IDLE_FIELDS, *_COUNTED_TWICE))
        for cpu in cpus
        if cpu < len(per_cpu)
    }


def _process_use(pids: list[int], root: Path) -> dict[int, float]:
    ticks = os.sysconf("SC_CLK_TCK")
    used = {}
    for pid in pids:
        try:
            text = (root / f"proc/{pid}/stat").read_text()
        except OSError:
            continue  # it ended between listing and reading
        fields = text.rpartition(")")[2].split()
        used[pid] = (int(fields[11]) + int(fields[12])) / ticks
    return used
