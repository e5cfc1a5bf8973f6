"""Stageline's turn: its wish is deployed for it and removed after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bench.energy import active_energy_j
from bench.line import removed, served
from bench.loads import SUBMITTER, at_rest, flat_out
from bench.statistics import median
from bench.testbed import Testbed
from bench.turns.seen import Amount, Seen
from broker.bus import Bus
from models.runtime import StageRunner
from schemas.deployment import Deployment

TOTALS: Final = ("broker", "planner", "monitors", "workers", SUBMITTER)
"""The keys of a testbed's figures that add up to everything; the others are parts of these."""


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
