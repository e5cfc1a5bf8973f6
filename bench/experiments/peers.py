"""Peers: the same model, weights and input on the same devices, through other systems and through Stageline.

All take turns in rounds. The fleet's links are not shaped, for nobody: most peers run on one machine's loopback only.
Ray Serve comes after the others, with rounds of its own: its services are never idle, and would slow who else is
measured meanwhile. Stageline takes two turns a round, planned once for throughput and once for latency; its row has
each figure from the plan that was made for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from bench.context import Context
from bench.peers import PEERS
from bench.statistics import median, spread
from bench.testbed import Testbed, testbed
from bench.turns.line import LineTurn
from bench.turns.peer import loaded_peer
from bench.turns.seen import Amount, Seen
from bench.turns.taking import Turn, take_turns
from models.runtime import StageRunner, load_stage
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Objective
from stageline.emulation.fleet_file import FleetFile

FLEET: Final = "hml"
MODELS: Final = ("mobilenet_v2", "resnet18")
QUICK_MODELS: Final = ("mobilenet_v2",)
QUICK_PEERS: Final = ("onnxruntime-replicas", "torch-rpc", "torch-pipelining", "ray-serve", "tcp-pipeline")
"""Whole models in one process are among the other experiments' systems."""
FULL: Final = Amount(rounds=2, one_by_one=8, flat_out_s=1.5)
QUICK: Final = Amount(rounds=1, one_by_one=4, flat_out_s=0.8)
NEVER_IDLE: Final = ("ray-serve", "ray-serve-replicas")
OURS: Final = "stageline"
_DEPLOYMENT: Final = "peers"


def run(context: Context) -> dict[str, Any]:
    """Measure model by model.

    Returns:
        `{"peers": [{"name", "model", "fleet", "throughput_rps", "throughput_spread", "rounds", "latency_ms",
        "latency_spread", "cpu_ms_per_request", "memory_bytes", "max_abs_error", "note"}]}`; a system that could not
        serve says why in `failed`.
    """
    models = QUICK_MODELS if context.quick else MODELS
    rows: list[dict[str, Any]] = []
    with testbed(without_links(context.fleet(FLEET)), library=context.library.root) as bed:
        for number, model in enumerate(models):
            rows += _model(context, bed, context.card(model), number / len(models), 1 / len(models))
    return {"peers": rows}


def without_links(fleet: FleetFile) -> FleetFile:
    """The same devices, with links as fast as this machine moves bytes."""
    devices = tuple(device.model_copy(update={"link": None}) for device in fleet.devices)
    return fleet.model_copy(update={"device": devices})


def _model(context: Context, bed: Testbed, card: ModelCard, begun: float, share: float) -> list[dict[str, Any]]:
    def measure(peers: Sequence[Seen], ours: Sequence[LineTurn], first: float, last: float) -> None:
        def said(text: str, done: float) -> None:
            context.progress(f"{card.name}: {text}", begun + share * (first + (last - first) * done))

        _measure(context, bed, card, [*peers, *ours], said)

    seen = {name: Seen(name) for name in (QUICK_PEERS if context.quick else PEERS)}
    throughput, latency = Seen(OURS), Seen(f"{OURS}, for latency")
    reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
    ours = [_turn(throughput, card, "throughput", reference), _turn(latency, card, "latency", reference)]
    try:
        measure([one for name, one in seen.items() if name not in NEVER_IDLE], ours, 0.0, 0.9)
        for name in NEVER_IDLE:
            if name in seen:
                measure([seen[name]], [], 0.9, 1.0)
    finally:
        reference.close()
    rows = [row(one, one) for one in seen.values()] + [row(throughput, latency)]
    return [{**found, "model": card.name, "fleet": bed.fleet.name} for found in rows]


def row(throughput: Seen, latency: Seen) -> dict[str, Any]:
    """One system's row, from what was seen of it when it was set up for throughput, and when for latency."""
    found: dict[str, Any] = {"name": throughput.name}
    if throughput.throughput_rps:
        costs = [10 * pct / rps for pct, rps in zip(throughput.cpu_pct, throughput.throughput_rps, strict=True)]
        found |= {
            "throughput_rps": median(throughput.throughput_rps),
            "throughput_spread": spread(throughput.throughput_rps),
            "rounds": len(throughput.throughput_rps),
            "cpu_ms_per_request": median(costs),
            "memory_bytes": round(median(throughput.memory_bytes)),
        }
    if latency.latencies_ms:
        found |= {"latency_ms": median(latency.latencies_ms), "latency_spread": spread(latency.latencies_ms)}
        found["max_abs_error"] = max(throughput.max_abs_error, latency.max_abs_error)
    notes = dict.fromkeys(note for note in (throughput.note, latency.note) if note)
    failures = dict.fromkeys(failed for failed in (throughput.failed, latency.failed) if failed)
    return found | {"note": "; for latency: ".join(notes)} | ({"failed": "; ".join(failures)} if failures else {})


def _turn(seen: Seen, card: ModelCard, objective: Objective, reference: StageRunner) -> LineTurn:
    wish = Deployment(deployment=_DEPLOYMENT, model=card.name, policy="exact", objective=objective)
    return LineTurn(seen, wish, reference)


def _measure(
    context: Context,
    bed: Testbed,
    card: ModelCard,
    systems: Sequence[Seen | LineTurn],
    said: Callable[[str, float], None],
) -> None:
    """Load those that are peers, then let all of them take turns."""

    def keep(record: dict[str, Any]) -> None:
        context.raw("peers", {"model": card.name, "fleet": bed.fleet.name, **record})

    said("starting peers", 0.0)
    with ExitStack() as stack:
        turns: list[Turn] = []
        for one in systems:
            if isinstance(one, LineTurn):
                turns.append(one)
            else:
                turns += loaded_peer(one.name, context, card, bed.fleet, experiment="peers", seen=one, stack=stack)
        asyncio.run(take_turns(bed, turns, QUICK if context.quick else FULL, keep=keep, said=said))
