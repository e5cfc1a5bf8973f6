"""How the bus scales: more and more submitters and devices on one mosquitto, until it carries no more.

Two processes make the load (`bench.bus_load`), one all submitters, one all devices; each submitter has two frames under
way. A request is two messages: the frame to its device, and the answer back. Messages and bytes are counted as they
come into the broker; it sends as many out. The machine's cores are shared with the load: where those are used up before
the broker's own core is, the row says so, and the broker could carry more.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from bench.bus_load import ANSWER_BYTES
from bench.context import Context
from broker.children import end, tied_to_us
from broker.embedded import EmbeddedBroker
from stageline.emulation.usage import cpu_s

WINDOW: Final = 2
GROWTH: Final = 1.05
"""Less than so much more than the step before: it carries no more."""
_ROOT: Final = Path(__file__).parents[2]
_SETTLE_S: Final = 0.7

LimitedBy = Literal["the broker's core", "the machine's cores", "waiting"]


@dataclass(frozen=True)
class Amount:
    """How much of what."""

    payload_bytes: tuple[int, ...]
    pairs: tuple[int, ...]
    """Submitters, and as many devices: one step of the ramp each."""
    seconds: float


FULL: Final = Amount((1_000, 50_000, 150_000, 600_000), (1, 2, 4, 8, 16, 32, 64, 128), seconds=2.0)
QUICK: Final = Amount((1_000, 150_000), (1, 32), seconds=1.0)


class LoadFailedError(RuntimeError):
    """A process of the load ended by itself; what it wrote is on our standard error."""

    def __init__(self, role: str, status: int | None) -> None:
        super().__init__(f"the {role} of the load ended with status {status}; their last words are above")


def run(context: Context) -> dict[str, Any]:
    """Ramp up for each size of frame: a row per step."""
    amount = QUICK if context.quick else FULL
    rows: list[dict[str, Any]] = []
    for done, nbytes in enumerate(amount.payload_bytes):
        steps: list[dict[str, Any]] = []
        with EmbeddedBroker() as broker:
            for pairs in amount.pairs:
                context.progress(f"{nbytes / 1000:g} KB, {pairs} submitters", done / len(amount.payload_bytes))
                steps.append(_step(broker, nbytes, pairs, amount.seconds))
                context.raw("bus", steps[-1])
                if saturated([step["messages_per_s"] for step in steps]):
                    break
        rows += steps
    return {"bus": rows}


def saturated(rates: Sequence[float]) -> bool:
    """Whether two steps in a row brought next to nothing: one alone may be chance."""
    return len(rates) > 2 and rates[-1] < GROWTH * rates[-2] and rates[-2] < GROWTH * rates[-3]


def _step(broker: EmbeddedBroker, nbytes: int, pairs: int, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        loads = {}
        for role in ("devices", "submitters"):
            loads[role] = _start(role, broker.port, pairs, nbytes)
            stack.callback(_stop, loads[role])
        for role, process in loads.items():
            _heard(role, process)
        begin = time.monotonic() + _SETTLE_S
        for process in loads.values():
            _tell(process, f"{begin} {begin + seconds}\n")
        time.sleep(max(0.0, begin - time.monotonic()))
        before, busy_before = cpu_s(broker.pid), _busy()
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        broker_cpu_s, busy = cpu_s(broker.pid) - before, _share(busy_before, _busy())
        found = {role: json.loads(_heard(role, process)) for role, process in loads.items()}
    asked = found["submitters"]
    load_cpu_s = sum(one["cpu_s"] for one in found.values())
    return {
        "payload_bytes": nbytes,
        "submitters": pairs,
        "devices": pairs,
        "window": WINDOW,
        "messages_per_s": 2 * asked["answers"] / seconds,
        "mbytes_per_s": (nbytes + ANSWER_BYTES) * asked["answers"] / seconds / 1e6,
        "latency_p50_ms": asked["p50_ms"] if asked["answers"] else None,
        "latency_p99_ms": asked["p99_ms"] if asked["answers"] else None,
        "broker_core_pct": 100 * broker_cpu_s / seconds,
        "load_core_pct": 100 * load_cpu_s / seconds,
        "connections_lost": sum(one["lost"] for one in found.values()),
        "machine_busy_pct": 100 * busy,
        "limited_by": limited_by(broker_cpu_s / seconds, busy),
    }


def limited_by(broker_cores: float, machine_busy: float) -> LimitedBy:
    """What kept a step from more: mosquitto has one thread, and the load is of the same machine, as others may be.

    Args:
        broker_cores: what the broker used, in cores.
        machine_busy: share of all cores that anybody used, 0 to 1.
    """
    if broker_cores >= 0.9:
        return "the broker's core"
    return "the machine's cores" if machine_busy >= 0.85 else "waiting"


def _busy() -> tuple[float, float]:
    """CPU seconds that all cores together worked so far, and that there were."""
    times = psutil.cpu_times()
    total = float(sum(times[:8]))  # what guests use is in user and nice already
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _share(before: tuple[float, float], after: tuple[float, float]) -> float:
    there = after[1] - before[1]
    return (after[0] - before[0]) / there if there else 0.0


def _start(role: str, port: int, pairs: int, nbytes: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.bus_load", role, str(port), str(pairs), str(nbytes), str(WINDOW)]
    return subprocess.Popen(
        [*tied_to_us(signal.SIGKILL), *command], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _stop(process: subprocess.Popen[str]) -> None:
    end(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        raise RuntimeError("a pipe was asked for and not given")
    process.stdin.write(line)
    process.stdin.flush()


def _heard(role: str, process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise LoadFailedError(role, process.wait())
    return line
