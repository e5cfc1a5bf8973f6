"""What a process has used so far, its children included."""

from __future__ import annotations

from contextlib import suppress

import psutil


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children that ended and of those that live; 0 once it is gone."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_bytes(pid: int) -> int:
    """Memory that a process and its living children hold; a page that they share counts for each; 0 once it is gone."""
    total = 0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
