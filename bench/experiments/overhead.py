"""What everything but computing costs: CPU time of broker, planner and monitors, at rest and while serving flat out.

The submitter is this process; its CPU time is told beside the shares and is in none of them: in the field it is
somebody else's machine. The cost of one hop and of one answer are those of `stageline bench hop` and `overhead`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.context import Context
from bench.line import joined, served
from bench.loads import SUBMITTER, FlatOut, flat_out
from bench.statistics import median, spread
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import load_stage
from schemas.deployment import Deployment
from stageline.benches import hop
from stageline.benches import overhead as one_answer

FLEET: Final = "hml"
MODEL: Final = "mobilenet_v2"
SERVICES: Final = ("broker", "planner", "monitors")
"""What is neither computing nor asking."""


@dataclass(frozen=True)
class Amount:
    """How much of what."""

    rounds: int
    flat_out_s: float
    rest_s: float


FULL: Final = Amount(rounds=3, flat_out_s=5.0, rest_s=4.0)
QUICK: Final = Amount(rounds=1, flat_out_s=2.0, rest_s=2.0)


def run(context: Context) -> dict[str, Any]:
    """Measure a line at rest and flat out, in turns; then a hop and an answer, quickly."""
    context.progress("devices joining", 0.0)
    card = context.card(MODEL)
    with testbed(context.fleet(FLEET), library=context.library.root) as bed:
        found = asyncio.run(_measure(context, bed, QUICK if context.quick else FULL))
    context.progress("one hop", 0.7)
    hops = hop.run(quick=True)
    context.progress("one answer", 0.85)
    answer = one_answer.run(quick=True)
    context.raw("overhead", {"hops": hops, "answer": answer})
    return {"overhead": {**found, "model": card.name, "hop": hops, "answer_ms": answer}}


async def _measure(context: Context, bed: Testbed, amount: Amount) -> dict[str, Any]:
    card = context.card(MODEL)
    reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
    rests, runs = [], []
    async with Bus(bed.url, name="bench-overhead") as bus:
        await joined(bus, bed)
        wish = Deployment(deployment=MODEL, model=MODEL, objective="throughput")
        async with served(bus, bed, wish, reference=reference) as line:
            for number in range(amount.rounds):
                context.progress(f"round {number + 1} of {amount.rounds}", 0.2 + 0.5 * number / amount.rounds)
                rests.append(await _rest(bed, amount.rest_s))
                runs.append(await flat_out(bed, line, amount.flat_out_s))
                context.raw(
                    "overhead",
                    {
                        "round": number,
                        "rest_cpu_s": rests[-1],
                        "rest_s": amount.rest_s,
                        "cpu_s": runs[-1].cpu_s,
                        "wall_s": runs[-1].wall_s,
                        "throughput_rps": runs[-1].throughput_rps,
                    },
                )
        bed.check()
    reference.close()
    return {
        "fleet": bed.fleet.name,
        "plan": str(line.plan),
        **shares(runs, rests, amount.rest_s, monitors=len(bed.fleet.devices)),
        "max_abs_error": line.error,
        "answered": line.client.audit.answered,
        "failed": line.client.audit.failed,
        "resident_bytes": runs[-1].resident_bytes,
    }


async def _rest(bed: Testbed, seconds: float) -> dict[str, float]:
    """CPU seconds by service while nobody asks."""
    before, begun = bed.cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    after, took_s = bed.cpu_s(), time.monotonic() - begun
    return {name: (after[name] - before[name]) * seconds / took_s for name in after}


def shares(
    runs: Sequence[FlatOut], rests: Sequence[Mapping[str, float]], rest_s: float, *, monitors: int
) -> dict[str, Any]:
    """Percentages of CPU time and of a core, medians over rounds; CPU seconds of all rounds together."""
    total = {name: sum(one.cpu_s[name] for one in runs) for name in runs[0].cpu_s}
    each = [100 * services_share(one.cpu_s) for one in runs]
    serving = [100 * one.cpu_s["monitors"] / monitors / one.wall_s for one in runs]
    resting = [100 * one["monitors"] / monitors / rest_s for one in rests]
    return {
        "services_share_pct": median(each),
        "services_share_spread": spread(each),
        "monitor_core_pct": max(median(serving), median(resting)),
        "monitor_core_pct_serving": median(serving),
        "monitor_core_pct_at_rest": median(resting),
        "worker_core_pct_at_rest": median([100 * one["workers"] / monitors / rest_s for one in rests]),
        "throughput_rps": median([one.throughput_rps for one in runs]),
        "cpu_s": {name: total[name] for name in (*SERVICES, "workers", SUBMITTER)},
        "wall_s": sum(one.wall_s for one in runs),
    }


def services_share(cpu_s: Mapping[str, float]) -> float:
    """Of all CPU time that Stageline spent, submitters left out, what its services other than workers spent; 0 to 1."""
    services = sum(cpu_s[name] for name in SERVICES)
    return services / (services + cpu_s["workers"])
