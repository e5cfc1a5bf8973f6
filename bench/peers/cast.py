"""A peer that runs: all its programs together, from the first one started to the last one ended."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.peers.conversation import FlatOut
from bench.peers.program import START_TIMEOUT_S, STARTER, Program, Role

N = TypeVar("N", int, float)

_SLACK_S: Final = 60.0
_WARM_REQUESTS: Final = 3
_WARM_S: Final = 0.3


@dataclass(frozen=True)
class Variant:
    """One way of running a peer; where there are several, the best one of each figure counts."""

    peer: str
    label: str
    """What is particular about it, for people; empty when it is the only one."""
    roles: tuple[Role, ...]
    """The first leads: it is told what to measure."""
    threads: int | None = None
    """What its leader is told to compute with: 0 is as many as its runtime takes by itself; None: nothing is said."""


@dataclass(frozen=True)
class Load:
    """A flat-out run, with what it cost."""

    run: FlatOut
    cpu_s: dict[str, float]
    """By device, and `submitter`; of all its requests."""
    took_s: float
    """How long all its requests took together, so `cpu_s` was spent in that time."""


class Cast:
    """The programs of one variant, once they are ready. Variants of the same roles may share them."""

    def __init__(self, programs: list[Program], members: dict[str, int]) -> None:
        self._programs = programs
        self._members = members

    def use_threads(self, count: int | None) -> None:
        """Have the leader compute with so many threads (see `Variant`)."""
        if count is not None:
            self._ask(0.0, do="threads", count=count)

    def warm_up(self) -> None:
        """First runs are slow everywhere: allocations, caches, connections."""
        self.one_by_one(_WARM_REQUESTS)
        self.flat_out(_WARM_S)

    def answer(self) -> NDArray[np.float64]:
        """The line's answer to the input, flat."""
        return np.asarray(self._ask(0.0, do="answer")["answer"], dtype=np.float64)

    def one_by_one(self, count: int) -> list[float]:
        """Latencies of so many requests, each alone and after a rest, ms."""
        return list(self._ask(float(count), do="one_by_one", count=count)["latencies_ms"])

    def flat_out(self, seconds: float) -> Load:
        """Requests for about so long."""
        started, before = time.perf_counter(), self._cpu_s()
        said = self._ask(10 * seconds, do="flat_out", seconds=seconds)
        after = self._cpu_s()
        # A process that came meanwhile counts whole; what ended meanwhile is not charged to anybody.
        spent = {key: max(0.0, after[key] - before.get(key, 0.0)) for key in after}
        took_s = time.perf_counter() - started
        return Load(FlatOut(said["answered"], said["wall_s"], said["requests"]), spent, took_s)

    def resident_bytes(self) -> dict[str, int]:
        """Memory by device, and `submitter`."""
        return {
            key: sum(_of_one(process, lambda one: one.memory_info().rss) for process in processes)
            for key, processes in self._by_key().items()
        }

    def pids(self) -> list[int]:
        """Of every process."""
        return [process.pid for processes in self._by_key().values() for process in processes]

    def pid(self, device: str) -> int:
        """Process id of what computes on a device."""
        by_role = {program.role.key: program.pid for program in self._programs}
        return self._members.get(device, by_role.get(device, 0))

    def _ask(self, takes_s: float, **command: Any) -> dict[str, Any]:
        self._programs[0].tell(**command)
        return self._programs[0].hear(takes_s + _SLACK_S)

    def _cpu_s(self) -> dict[str, float]:
        return {
            key: sum(_of_one(process, _worked_s) for process in processes) for key, processes in self._by_key().items()
        }

    def _by_key(self) -> dict[str, list[psutil.Process]]:
        device_of = {pid: key for key, pid in self._members.items()}
        found: dict[str, list[psutil.Process]] = defaultdict(list)
        for program in self._programs:
            for process in program.processes():
                found[device_of.get(process.pid, program.role.key)].append(process)
        found.pop(STARTER, None)
        return dict(found)


def _worked_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _of_one(process: psutil.Process, figure: Callable[[psutil.Process], N]) -> N | Literal[0]:
    """A figure of one process; 0 of one that ended since it was listed, as Ray's helpers may."""
    try:
        return figure(process)
    except psutil.NoSuchProcess:
        return 0


def launch(peer: str, roles: Sequence[Role], stack: ExitStack) -> list[Program]:
    """Start all programs of a line; leaving the stack ends them, however that happens."""
    programs = []
    for role in roles:
        programs.append(Program(role, owner=peer))
        stack.callback(programs[-1].end)
    return programs


def ready(programs: list[Program]) -> Cast:
    """Wait until launched programs are ready, and put them under their quotas.

    They load before they are confined: what a start costs under a tenth of a core says nothing about serving.

    Raises:
        bench.peers.program.PeerFailedError: one of them cannot; with the end of its log.
    """
    first = [program.hear(START_TIMEOUT_S) for program in programs]
    ports = [said.get("ports", []) for said in first]
    if any(ports):
        for program in programs:
            program.tell(ports=ports)
        for program in programs:
            program.hear(START_TIMEOUT_S)
    members: dict[str, int] = {}
    for program, said in zip(programs, first, strict=True):
        if program.role.cores is not None:
            program.confine(program.role.cores)
        for key, (pid, cores) in said.get("members", {}).items():
            program.confine(cores, pid)
            members[key] = pid
    return Cast(programs, members)
