"""Another system's turn: it stays loaded, and waits without computing while others are measured."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from bench.context import Context
from bench.energy import active_energy_j
from bench.loads import SUBMITTER
from bench.peers import PeerFailedError, PeerLine, available, peer_line
from bench.peers.line import Measured
from bench.reasons import reason
from bench.statistics import median
from bench.turns.seen import Amount, Seen
from schemas.model import ModelCard
from stageline.emulation.fleet_file import FleetFile

AS_IT_COMES: Final = 0
"""Threads of a peer's variant: the runtime's own choice."""


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
