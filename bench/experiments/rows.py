"""Rows side by side: latency of one request at a time, with rows shared and with the best plan without, in turns.

Fleet H+M+L with quick links. Both plans are the planner's own, for the same wish but for whether rows may be shared;
they take turns, and a ratio is of neighbours in time. Where the planner does not share rows though it may, both are the
same plan, and the row says so. Each is asked twice over: with a pause before every request, and one request right after
another, when a quota has no time to recover.

Answers are compared with the unsplit model's: `max_abs_error` is 0 where they are equal to the last bit.

The kernel limits the devices' memory; what they lend of it (`LENT_MB`) is more than they would by themselves, so that
the strongest could hold VGG16 alone: the best plan without sharing rows is then as good as it gets.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from bench.context import Context
from bench.line import BED_FAILURES, LINE_FAILURES, Bed, Line, dropped, joined, removed, served
from bench.loads import at_rest
from bench.reasons import reason
from bench.rounds_by_plan import Round, Seen, row
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import StageRunner, load_stage
from schemas.deployment import Deployment

FLEET: Final = "hml"
LENT_MB: Final = {"high": 700, "medium": 250, "low": 250}
"""Of 1024, 512 and 512 MB."""
_SETTINGS: Final = {"STAGELINE_MEMORY_BUDGET_MB": str(max(LENT_MB.values()))}
"""The same for all workers: what each may really take is the wish's to say."""


@dataclass(frozen=True)
class Amount:
    """How often, and how many requests each time, by model."""

    rounds: int
    requests: dict[str, int]


FULL: Final = Amount(4, {"vgg16": 6, "resnet18": 30, "mobilenet_v2": 40})
QUICK: Final = Amount(1, {"resnet18": 8})


def run(context: Context) -> dict[str, Any]:
    """Measure every model: a row each, also of what failed, with its reason in `failed`."""
    amount = QUICK if context.quick else FULL
    rows: list[dict[str, Any]] = []
    for done, model in enumerate(amount.requests):
        context.progress(f"{model}: devices joining", done / len(amount.requests))
        card = context.card(model)
        reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
        try:
            with testbed(context.fleet(FLEET), library=context.library.root, environment=_SETTINGS) as bed:
                rows.append(asyncio.run(_row(context, bed, model, reference, amount)))
        except (*LINE_FAILURES, *BED_FAILURES) as error:
            rows.append({"fleet": FLEET, "model": model, "ratio": None, "failed": reason(error)})
            context.raw("rows", rows[-1])
        finally:
            reference.close()
    return {"rows": rows}


async def _row(context: Context, bed: Testbed, model: str, reference: StageRunner, amount: Amount) -> dict[str, Any]:
    rounds: list[Round] = []
    async with Bus(bed.url, name="bench-rows") as bus:
        await joined(bus, bed)
        for number in range(amount.rounds):
            context.progress(f"{model}: round {number + 1}", (number + 0.5) / amount.rounds)
            seen: dict[bool, Seen] = {}
            # Who goes first alternates: what warms up or slows down meanwhile favours neither.
            for may_share in (False, True) if number % 2 == 0 else (True, False):
                requests = amount.requests[model]
                one = await _measured(bus, bed, model, reference, may_share=may_share, requests=requests)
                context.raw("rows", {"model": model, "round": number, "may_share": may_share, **_raw(one)})
                seen[may_share] = one
            rounds.append(Round(seen[False], seen[True]))
        bed.check()
    return {**row(bed.fleet.name, model, rounds), "unshaped": "; ".join(bed.unshaped)}


async def _measured(bus: Bus, bed: Bed, model: str, reference: StageRunner, *, may_share: bool, requests: int) -> Seen:
    limits = {device: megabytes * 1_000_000 for device, megabytes in LENT_MB.items()}
    wish = Deployment(
        deployment=model, model=model, objective="latency", side_by_side=may_share, memory_limit_bytes=limits
    )
    async with served(bus, bed, wish, reference=reference) as line:
        rested = await at_rest(line, requests)
        seen = Seen(line.plan, rested, await _in_a_row(line, requests), line.error)
    # Nothing of this plan is held when the next one is measured.
    await removed(bus, model)
    await dropped(bus, line.plan)
    return seen


async def _in_a_row(line: Line, count: int) -> tuple[float, ...]:
    return tuple([(await line.ask(number)).latency_ms for number in range(count)])


def _raw(seen: Seen) -> dict[str, Any]:
    return {
        "plan": str(seen.plan), "latencies_ms": seen.latencies_ms, "in_a_row_ms": seen.in_a_row_ms,
        "max_abs_error": seen.error,
    }  # fmt: skip
