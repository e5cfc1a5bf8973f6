"""Six models on H+M+L, six ways to run each: one device in two runtimes, PyTorch RPC, three policies of our line."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any, Final

from bench.context import Context
from bench.line import BED_FAILURES
from bench.reasons import reason
from bench.testbed import Testbed, testbed
from bench.turns.line import LineTurn
from bench.turns.peer import loaded_peer
from bench.turns.seen import Amount, Seen
from bench.turns.taking import Turn, take_turns
from models.catalog import TORCHVISION
from models.runtime import load_stage
from schemas.deployment import Deployment
from schemas.model import ModelCard

FLEET: Final = "hml"
MODELS: Final = TORCHVISION
QUICK_MODELS: Final = ("mobilenet_v2",)
HEAVY_MACS: Final = 3_000_000_000
"""A model with more than this needs longer per turn, and gets fewer requests."""
_PEERS: Final = {
    "torch-single": "single device, PyTorch",
    "onnxruntime-single": "single device, ONNX Runtime",
    "torch-rpc": "PyTorch RPC split",
}
_WISHES: Final[dict[str, dict[str, Any]]] = {
    "static even split": {"policy": "even-split", "objective": "throughput"},
    "AMP4EC": {"policy": "amp4ec", "objective": "throughput"},
    "Stageline": {"policy": "exact", "objective": "throughput"},
    "Stageline, for latency": {"policy": "exact", "objective": "latency"},
}
_DEPLOYMENT: Final = "seed"


def run(context: Context) -> dict[str, Any]:
    """Measure model by model, all systems in turns.

    Returns:
        `{"seed_table": [{"model", "fleet", "system", "latency_ms", "throughput_rps", "cpu_pct", "memory_bytes",
        "energy_j", "max_abs_error", "note", ...}]}`; a system that could not serve a model says why in `failed`.
    """
    models = QUICK_MODELS if context.quick else MODELS
    fleet = context.fleet(FLEET)
    cards = []
    for number, model in enumerate(models):
        context.progress(f"importing {model}", 0.05 * number / len(models))
        cards.append(context.card(model))
    table: list[dict[str, Any]] = []
    for number, card in enumerate(cards):
        # One each: a device that a large model ends is missed by no other model.
        try:
            with testbed(fleet, library=context.library.root) as bed:
                rows = _model(context, bed, card, 0.05 + 0.95 * number / len(cards), 0.95 / len(cards))
        except BED_FAILURES as error:
            # No devices, no figures of this model; those of the others stand.
            rows = [{"system": name, "failed": reason(error)} for name in (*_PEERS.values(), *_WISHES)]
        table += [{"model": card.name, "fleet": fleet.name, **row} for row in rows]
    return {"seed_table": table}


def amount_for(card: ModelCard, *, quick: bool) -> Amount:
    """Less of a model that takes long, and longer stretches, which must hold enough answers."""
    heavy = card.macs > HEAVY_MACS
    if quick:
        return Amount(rounds=1, one_by_one=4, flat_out_s=1.0)
    return Amount(rounds=1 if heavy else 2, one_by_one=5 if heavy else 12, flat_out_s=5.0 if heavy else 2.5)


def _model(context: Context, bed: Testbed, card: ModelCard, begun: float, share: float) -> list[dict[str, Any]]:
    def keep(record: dict[str, Any]) -> None:
        context.raw("seed_table", {"model": card.name, **record})

    def said(text: str, done: float) -> None:
        context.progress(f"{card.name}: {text}", begun + share * done)

    seen = [Seen(label) for label in (*_PEERS.values(), *_WISHES)]
    said("starting the other systems", 0.0)
    with ExitStack() as stack:
        reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
        stack.callback(reference.close)
        turns: list[Turn] = []
        for one, name in zip(seen, _PEERS, strict=False):
            turns += loaded_peer(name, context, card, bed.fleet, experiment="seed_table", seen=one, stack=stack)
        for one, wish in zip(seen[len(_PEERS) :], _WISHES.values(), strict=True):
            deployment = Deployment(deployment=_DEPLOYMENT, model=card.name, **wish)
            turns.append(LineTurn(one, deployment, reference))
        amount = amount_for(card, quick=context.quick)
        asyncio.run(take_turns(bed, turns, amount, keep=keep, said=said))
    return [one.row(bed.fleet) for one in seen]
