"""Other ways of running the same model on the same devices, measured like Stageline.

Every peer gets the same card and so the same weights, the same input, batch 1, and each device's CPU quota. No link is
shaped for any of them and no memory limited, both to their advantage. Where a peer can be run in several ways (threads,
splits), all are measured and each figure is the best one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Final

from bench.context import Context
from bench.peers.line import PeerLine, peer_line
from bench.peers.program import PeerFailedError
from bench.peers.variants import PEERS
from stageline.emulation.fleet_file import FleetFile

__all__ = ["PEERS", "PeerFailedError", "PeerFigures", "PeerLine", "available", "measure_peer", "peer_line"]

_NEEDS: Final = {
    "torch": ("torch", "pip install 'stageline[torch]'"),
    "ray": ("ray.serve", "pip install 'stageline[ray]'"),
}


@dataclass(frozen=True)
class PeerFigures:
    """What one peer did on one fleet."""

    name: str
    throughput_rps: float
    latencies_ms: tuple[float, ...]
    """Each request alone, after a rest."""
    cpu_s: dict[str, float]
    """During the flat-out part, by device and `submitter`."""
    wall_s: float
    """Of the flat-out part, filling and draining the line included."""
    requests: int
    """Of the flat-out part, those that filled and drained the line included: what `cpu_s` was spent on."""
    resident_bytes: dict[str, int]
    max_abs_error: float
    """Against the unsplit model in ONNX Runtime."""
    note: str
    """Which variants these figures are of."""


def available(name: str) -> str | None:
    """Why a peer cannot run here and what to do, or None when it can."""
    module, remedy = _NEEDS.get(name.partition("-")[0], ("", ""))
    if module and find_spec(module.partition(".")[0]) is None:
        return f"{name} needs {module.partition('.')[0]}, which is not installed: {remedy}"
    return None


def measure_peer(
    name: str, context: Context, model: str, fleet: FleetFile, *, one_by_one: int, flat_out_s: float
) -> PeerFigures:
    """Start a peer, measure it once, end it.

    Args:
        name: one of `PEERS`.
        context: where the model's card comes from and raw figures go.
        model: its name.
        fleet: the devices.
        one_by_one: requests for the latency.
        flat_out_s: how long requests never run out.

    Raises:
        PeerFailedError: one of its programs failed; with the end of its log.
    """

    def keep(record: dict[str, object]) -> None:
        context.raw("peers", {"model": model, "fleet": fleet.name, **record})

    with peer_line(name, context.card(model), context.library, fleet, keep) as line:
        line.round(one_by_one, flat_out_s)
        fastest = line.fastest
        return PeerFigures(
            name=name,
            throughput_rps=median(fastest.throughput_rps),
            latencies_ms=tuple(line.quickest.latencies_ms),
            cpu_s=fastest.loads[-1].cpu_s,
            wall_s=fastest.loads[-1].took_s,
            requests=fastest.loads[-1].run.requests,
            resident_bytes=fastest.resident_bytes,
            max_abs_error=max(each.max_abs_error for each in line.measured),
            note=line.note,
        )
