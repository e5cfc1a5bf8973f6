"""Stageline and other systems, measured in turns on the same fleet: what slows the machine slows all of them.

Every round measures each system once, in an order that turns around from round to round. Peers stay loaded and wait
without computing while others are measured; a deployment is made anew for each turn and removed after it, so that no
plan profits from what another one left in a device's memory.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from bench.context import Context
from bench.energy import active_energy_j, source
from bench.line import BED_FAILURES, LINE_FAILURES, joined, removed, served
from bench.loads import SUBMITTER, at_rest, flat_out
from bench.peers import PeerFailedError, PeerLine, available, peer_line
from bench.peers.line import Measured
from bench.reasons import reason
from bench.statistics import median, spread
from bench.testbed import Testbed
from broker.bus import Bus
from models.runtime import StageRunner
from schemas.deployment import Deployment
from schemas.model import ModelCard
from stageline.emulation.fleet_file import FleetFile

TOTALS: Final = ("broker", "planner", "monitors", "workers", SUBMITTER)
"""The keys of a testbed's figures that add up to everything; the others are parts of these."""
AS_IT_COMES: Final = 0
"""Threads of a peer's variant: the runtime's own choice."""
FINDINGS: Final = (*LINE_FAILURES, PeerFailedError)
"""What a system can fail of by itself: a row that says so, and no end of the measurement."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each per turn."""

    rounds: int
    one_by_one: int
    flat_out_s: float


@dataclass
class Seen:
    """Everything that was seen of one system, turn by turn."""

    name: str
    latencies_ms: list[float] = field(default_factory=list)
    """All requests one by one."""
    turn_latency_ms: list[float] = field(default_factory=list)
    """Median of each turn."""
    throughput_rps: list[float] = field(default_factory=list)
    cpu_pct: list[float] = field(default_factory=list)
    """Of one core, all processes of the system."""
    memory_bytes: list[float] = field(default_factory=list)
    """All processes but the one that submits: in ours that one is this bench, with much that is not the line's."""
    energy_j: list[float] = field(default_factory=list)
    receipts_energy_j: list[float] = field(default_factory=list)
    max_abs_error: float = math.nan
    note: str = ""
    failed: str = ""

    def row(self, fleet: FleetFile) -> dict[str, Any]:
        """As a row of results.json; what failed says so in `failed`, and shows what it did before."""
        found: dict[str, Any] = {"system": self.name}
        if self.latencies_ms:
            found |= {"latency_ms": median(self.latencies_ms), "latency_spread": spread(self.latencies_ms)}
        if self.throughput_rps:
            found |= {
                "throughput_rps": median(self.throughput_rps),
                "throughput_spread": spread(self.throughput_rps),
                "rounds": len(self.throughput_rps),
                "cpu_pct": median(self.cpu_pct),
                "memory_bytes": round(median(self.memory_bytes)),
                "energy_j": median(self.energy_j),
                "energy_method": "modelled",
                "energy_source": source(fleet),
            }
        if self.receipts_energy_j:
            found["receipts_energy_j"] = median(self.receipts_energy_j)
        if not math.isnan(self.max_abs_error):
            found["max_abs_error"] = self.max_abs_error
        return found | {"note": self.note} | ({"failed": self.failed} if self.failed else {})

    def load(self, rps: float, cpu_s: Mapping[str, float], wall_s: float, resident: Mapping[str, int]) -> None:
        """Add one flat-out stretch; the mappings hold nothing twice."""
        self.throughput_rps.append(rps)
        self.cpu_pct.append(100 * sum(cpu_s.values()) / wall_s)
        self.memory_bytes.append(sum(resident.values()))


@dataclass(frozen=True)
class PeerTurn:
    """A peer that is loaded and waits."""

    seen: Seen
    line: PeerLine

    def measure(self, fleet: FleetFile, amount: Amount) -> None:
        """One turn."""
        self.line.round(amount.one_by_one, amount.flat_out_s)
        # Which variant is best is told by all turns, so what was seen is told anew after each.
        _tell(self.seen, self.line.fastest, self.line.quickest, fleet)
        self.seen.note = self.line.note

    def as_it_comes(self, fleet: FleetFile) -> Seen:
        """The variant that leaves threads as the runtime sets them, by itself."""
        variant = next(each for each in self.line.measured if each.variant.threads == AS_IT_COMES)
        seen = Seen(self.seen.name, note=variant.variant.label)
        _tell(seen, variant, variant, fleet)
        return seen


def _tell(seen: Seen, fastest: Measured, quickest: Measured, fleet: FleetFile) -> None:
    seen.latencies_ms = list(quickest.latencies_ms)
    turns = len(quickest.loads)
    size = len(quickest.latencies_ms) // turns
    seen.turn_latency_ms = [median(quickest.latencies_ms[turn * size : (turn + 1) * size]) for turn in range(turns)]
    seen.throughput_rps, seen.cpu_pct, seen.memory_bytes, seen.energy_j = [], [], [], []
    for load, rps in zip(fastest.loads, fastest.throughput_rps, strict=True):
        resident = {key: held for key, held in fastest.resident_bytes.items() if key != SUBMITTER}
        seen.load(rps, load.cpu_s, load.took_s, resident)
        seen.energy_j.append(active_energy_j(fleet, load.cpu_s) / load.run.requests)
    seen.max_abs_error = max(fastest.max_abs_error, quickest.max_abs_error)


@dataclass(frozen=True)
class LineTurn:
    """A wish that is deployed for each turn."""

    seen: Seen
    wish: Deployment
    reference: StageRunner

    async def measure(self, bus: Bus, bed: Testbed, amount: Amount) -> dict[str, Any]:
        """One turn; returns what was seen, for the raw figures."""
        try:
            async with served(bus, bed, self.wish, reference=self.reference) as line:
                latencies = await at_rest(line, amount.one_by_one)
                full = await flat_out(bed, line, amount.flat_out_s)
        finally:
            await removed(bus, self.wish.deployment)
        bed.check()
        seen = self.seen
        seen.latencies_ms += latencies
        seen.turn_latency_ms.append(median(latencies))
        cpu_s: dict[str, float] = {key: full.cpu_s[key] for key in TOTALS}
        resident: dict[str, int] = {key: full.resident_bytes[key] for key in TOTALS if key != SUBMITTER}
        seen.load(full.throughput_rps, cpu_s, full.wall_s, resident)
        by_device = {
            device.name: sum(full.cpu_s.get(f"{service}:{device.name}", 0.0) for service in ("worker", "monitor"))
            for device in bed.fleet.devices
        }
        seen.energy_j.append(active_energy_j(bed.fleet, by_device) / max(1, full.counted))
        if full.energy_method != "unknown":
            seen.receipts_energy_j.append(full.energy_j)
        seen.max_abs_error = max(line.error, seen.max_abs_error) if seen.throughput_rps[1:] else line.error
        seen.note = str(line.plan)
        if line.replanned:
            seen.note += ", and another plan took over while it was measured"
        return {"latencies_ms": latencies, "throughput_rps": full.throughput_rps, "cpu_s": full.cpu_s,
                "wall_s": full.wall_s, "plan": str(line.plan), "replanned": line.replanned}  # fmt: skip


Turn = PeerTurn | LineTurn


def loaded_peer(
    name: str, context: Context, card: ModelCard, fleet: FleetFile, *, experiment: str, seen: Seen, stack: ExitStack
) -> list[PeerTurn]:
    """Start a peer, which stays loaded until the stack is left; none, with the reason in `seen`, where it cannot run.

    Args:
        name: one of `bench.peers.PEERS`.
        context: of the run.
        card: of the model.
        fleet: the devices.
        experiment: whose raw figures its turns belong to.
        seen: where its figures will be.
        stack: what ends it.
    """
    if why_not := available(name):
        seen.failed = why_not
        return []

    def keep(record: dict[str, Any]) -> None:
        context.raw(experiment, {"model": card.name, "fleet": fleet.name, "system": seen.name, **record})

    try:
        return [PeerTurn(seen, stack.enter_context(peer_line(name, card, context.library, fleet, keep)))]
    except PeerFailedError as error:
        seen.failed = reason(error)
        return []


async def take_turns(
    bed: Testbed,
    turns: Sequence[Turn],
    amount: Amount,
    *,
    keep: Callable[[dict[str, Any]], None],
    said: Callable[[str, float], None],
) -> None:
    """Measure all systems in rounds; what each was seen to do, or failed of, is in its `seen` afterwards.

    Args:
        bed: the fleet.
        turns: the systems; one that failed gets no further turn.
        amount: rounds, and how much per turn.
        keep: told every turn of a deployment, as it came, and every failure (peers keep their turns themselves).
        said: told the name of each system as its turn begins, and the share that is done.
    """
    async with Bus(bed.url, name="bench") as bus:
        try:
            await joined(bus, bed)
        except TimeoutError as error:
            for turn in turns:
                turn.seen.failed = turn.seen.failed or f"not all devices joined: {reason(error)}"
            return
        for number in range(amount.rounds):
            for place, turn in enumerate(turns if number % 2 == 0 else reversed(turns)):
                said(turn.seen.name, (number + place / len(turns)) / amount.rounds)
                if turn.seen.failed:
                    continue
                try:
                    if isinstance(turn, PeerTurn):
                        # In a thread: the bus has pings to answer meanwhile.
                        await asyncio.to_thread(turn.measure, bed.fleet, amount)
                    else:
                        keep({"system": turn.seen.name, "round": number, **await turn.measure(bus, bed, amount)})
                except FINDINGS as error:
                    turn.seen.failed = reason(error)
                    keep({"system": turn.seen.name, "round": number, "failed": turn.seen.failed})
                except BED_FAILURES as error:
                    turn.seen.failed = reason(error)
                    keep({"system": turn.seen.name, "round": number, "failed": turn.seen.failed})
                    for other in turns:
                        other.seen.failed = (
                            other.seen.failed or f"a device was lost while {turn.seen.name} was measured"
                        )
                    return
