"""AMP4EC's headline twice: the paper's way, against eager PyTorch; and the fair way, against our own runtime.

Both baselines are one process that holds the whole model and may use as many cores as the fleet has in all. The
published changes are -78.35 % latency and +414.73 % throughput for MobileNetV2 (arXiv 2504.00407) [P].
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any, Final

from bench.context import Context
from bench.statistics import median, paired_ratio, spread
from bench.targets.paper import AMP4EC_LATENCY_PCT, AMP4EC_THROUGHPUT_PCT
from bench.testbed import testbed
from bench.turns.line import LineTurn
from bench.turns.peer import PeerTurn, loaded_peer
from bench.turns.seen import Amount, Seen
from bench.turns.taking import Turn, take_turns
from models.runtime import load_stage
from schemas.deployment import Deployment

FLEET: Final = "hml"
MODEL: Final = "mobilenet_v2"
FULL: Final = Amount(rounds=5, one_by_one=30, flat_out_s=3.0)
QUICK: Final = Amount(rounds=1, one_by_one=6, flat_out_s=1.0)
_DEPLOYMENT: Final = "headline"
_PEERS: Final = ("torch-monolith", "onnxruntime-monolith", "onnxruntime-single")


class MissingHalfError(RuntimeError):
    """One side of the comparison could not be measured, so there is nothing to compare."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(f"{seen.name} could not be measured: {seen.failed}")


def run(context: Context) -> dict[str, Any]:
    """Measure baselines and line in turns.

    Returns:
        `{"headline": {"paper_way": {...}, "fair_way": {...}}}`, each with both sides' latency and throughput, and the
        changes in percent. The paper's way takes PyTorch with threads as it comes; beside it stand the published
        changes, those against the number of threads that suits PyTorch best under the quota (`best_threads`), and
        what the strongest device alone would give (`floor_...`).

    Raises:
        MissingHalfError: a baseline or the line failed.
    """

    def keep(record: dict[str, Any]) -> None:
        context.raw("headline", record)

    fleet, card = context.fleet(FLEET), context.card(MODEL)
    eager, same_runtime, alone = (Seen(name) for name in _PEERS)
    quickly, many = Seen("Stageline, for latency"), Seen("Stageline, for throughput")
    with ExitStack() as stack:
        reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
        stack.callback(reference.close)
        turns: list[Turn] = []
        context.progress("starting the baselines", 0.0)
        for name, seen in zip(_PEERS, (eager, same_runtime, alone), strict=True):
            turns += loaded_peer(name, context, card, fleet, experiment="headline", seen=seen, stack=stack)
        for seen, objective in ((quickly, "latency"), (many, "throughput")):
            wish = Deployment.model_validate({"deployment": _DEPLOYMENT, "model": MODEL, "objective": objective})
            turns.append(LineTurn(seen, wish, reference))
        bed = stack.enter_context(testbed(fleet, library=context.library.root))
        asyncio.run(take_turns(bed, turns, QUICK if context.quick else FULL, keep=keep, said=context.progress))
    for seen in (eager, same_runtime, alone, quickly, many):
        if seen.failed:
            raise MissingHalfError(seen)
    comes = next(turn for turn in turns if isinstance(turn, PeerTurn) and turn.seen is eager).as_it_comes(fleet)
    paper_way = change(comes, quickly, many) | {
        "best_threads": change(eager, quickly, many),
        "amp4ec_latency_change_pct": AMP4EC_LATENCY_PCT,
        "amp4ec_throughput_change_pct": AMP4EC_THROUGHPUT_PCT,
        "floor_latency_ms": median(alone.latencies_ms),
        "floor_change_pct": _percent(paired_ratio(alone.turn_latency_ms, comes.turn_latency_ms)["median"]),
    }
    about = {"model": MODEL, "fleet": fleet.name, "cores_here": fleet.total_cores}
    return {"headline": {"paper_way": about | paper_way, "fair_way": about | change(same_runtime, quickly, many)}}


def change(baseline: Seen, quickly: Seen, many: Seen) -> dict[str, Any]:
    """What the line changes: its plan for latency by latency, its plan for throughput by throughput. Pure."""
    latency = paired_ratio(quickly.turn_latency_ms, baseline.turn_latency_ms)
    throughput = paired_ratio(many.throughput_rps, baseline.throughput_rps)
    return {
        "baseline": f"{baseline.name}{f' ({baseline.note})' if baseline.note else ''}",
        "baseline_latency_ms": median(baseline.latencies_ms),
        "baseline_throughput_rps": median(baseline.throughput_rps),
        "latency_ms": median(quickly.latencies_ms),
        "latency_spread": spread(quickly.latencies_ms),
        "throughput_rps": median(many.throughput_rps),
        "throughput_spread": spread(many.throughput_rps),
        "rounds": latency["n"],
        "latency_change_pct": _percent(latency["median"]),
        "latency_change_spread": [_percent(latency["p25"]), _percent(latency["p75"])],
        "throughput_change_pct": _percent(throughput["median"]),
        "throughput_change_spread": [_percent(throughput["p25"]), _percent(throughput["p75"])],
        "latency_of_throughput_plan_ms": median(many.latencies_ms),
        "plan_for_latency": quickly.note,
        "plan_for_throughput": many.note,
        "max_abs_error": max(quickly.max_abs_error, many.max_abs_error),
    }


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)
