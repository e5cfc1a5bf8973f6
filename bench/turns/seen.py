"""How much is measured of each system, and what was seen of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.energy import source
from bench.statistics import median, spread
from stageline.emulation.fleet_file import FleetFile


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
