"""To the limit: what the line answers per second over what its devices could do alone, added up.

The bound is `sum_i 1 / T_i`: each device's whole-model rate in a tight loop of one process under its quota, one
device after the other, while the line rests (its monitors tick once a second under quotas of their own). Bound and
line take turns, and each ratio is of neighbours in time. Devices with the same quota have the same bound, and it is
measured once for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from bench.alone import Alone
from bench.context import Context
from bench.line import BED_FAILURES, LINE_FAILURES, Line, joined, removed, served
from bench.loads import flat_out
from bench.reasons import reason
from bench.statistics import median, paired_ratio, spread
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import load_stage
from schemas.deployment import Deployment
from stageline.emulation.fleet_file import FleetFile


@dataclass(frozen=True)
class Amount:
    """How long, how often and of what."""

    fleets: dict[str, int]
    """Rounds, by fleet."""
    models: tuple[str, ...]
    alone_s: float
    flat_out_s: float


FULL: Final = Amount(
    {"hml": 3, "hhml": 3, "eight": 2},
    ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet-lite0"),
    alone_s=1.5,
    flat_out_s=4.0,
)
QUICK: Final = Amount({"hml": 1}, ("mobilenet_v2",), alone_s=1.0, flat_out_s=2.0)


def run(context: Context) -> dict[str, Any]:
    """Measure every model on every fleet: a row each, also of what failed, with its reason in `failed`."""
    amount = QUICK if context.quick else FULL
    rows: list[dict[str, Any]] = []
    for done, (stem, rounds) in enumerate(amount.fleets.items()):
        left = [context.card(model).name for model in amount.models]
        while left:
            context.progress(f"{stem}: devices joining", done / len(amount.fleets))
            with testbed(context.fleet(stem), library=context.library.root) as bed:
                while left:
                    model = left.pop(0)
                    context.progress(f"{stem}: {model}", done / len(amount.fleets))
                    try:
                        rows.append(asyncio.run(_row(context, bed, model, rounds, amount)))
                    except (*LINE_FAILURES, *BED_FAILURES) as error:
                        rows.append({"fleet": bed.fleet.name, "model": model, "ratio": None, "failed": reason(error)})
                        context.raw("limit", rows[-1])
                        break  # what it left behind would be in the next model's way: on with new devices
    return {"limit": rows}


async def _row(context: Context, bed: Testbed, model: str, rounds: int, amount: Amount) -> dict[str, Any]:
    card = context.card(model)
    reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
    wish = Deployment(deployment=model, model=model, objective="throughput")
    lines, bounds = [], []
    async with Bus(bed.url, name="bench-limit") as bus:
        await joined(bus, bed)
        async with served(bus, bed, wish, reference=reference) as line:
            with Alone(card, context.library, max(map(bed.fleet.cores_here, bed.fleet.devices))) as alone:
                for number in range(rounds):
                    # Who goes first alternates: what warms up or slows down meanwhile favours neither.
                    turns = [_bound, _line] if number % 2 == 0 else [_line, _bound]
                    found = {turn: await turn(bed, line, alone, amount) for turn in turns}
                    record = {"fleet": bed.fleet.name, "model": model, "round": number}
                    context.raw("limit", {**record, **found[_bound], **found[_line], "plan": str(line.plan)})
                    bounds.append(found[_bound]["bound_rps"])
                    lines.append(found[_line]["throughput_rps"])
            bed.check()
        await removed(bus, model)
    reference.close()
    ratio = paired_ratio(lines, bounds)
    predicted = line.plan.predicted
    return {
        "fleet": bed.fleet.name,
        "model": model,
        "throughput_rps": median(lines),
        "throughput_spread": spread(lines),
        "bound_rps": median(bounds),
        "bound_spread": spread(bounds),
        "ratio": ratio["median"],
        "ratio_spread": [ratio["p25"], ratio["p75"]],
        "rounds": rounds,
        "predicted_rps": predicted.throughput_rps if predicted else None,
        "plan": str(line.plan),
        "max_abs_error": line.error,
        "answered": line.client.audit.answered,
        "replanned": line.replanned,
        "unshaped": "; ".join(bed.unshaped),
    }


async def _bound(bed: Testbed, _line: Line, alone: Alone, amount: Amount) -> dict[str, Any]:
    rates = {
        cores: await asyncio.to_thread(alone.rps, cores, amount.alone_s)
        for cores in sorted({bed.fleet.cores_here(device) for device in bed.fleet.devices})
    }
    return {"bound_rps": bound_rps(bed.fleet, rates), "alone_rps": {f"{cores:g}": rps for cores, rps in rates.items()}}


async def _line(bed: Testbed, line: Line, _alone: Alone, amount: Amount) -> dict[str, Any]:
    seen = await flat_out(bed, line, amount.flat_out_s)
    return {"throughput_rps": seen.throughput_rps, "counted": seen.counted, "cpu_s": seen.cpu_s, "wall_s": seen.wall_s}


def bound_rps(fleet: FleetFile, rates: dict[float, float]) -> float:
    """Rates of all devices added up, from the rate that so many cores give.

    Raises:
        KeyError: a device's cores were not measured.
    """
    return sum(rates[fleet.cores_here(device)] for device in fleet.devices)
