"""Every policy, live: its plan is made and rolled out by the real planner and served by the real workers.

Throughput is of the plan that a policy makes for throughput, flat out; latency of the plan that it makes for latency,
one request at a time. Policies whose plans for an objective are the same share one measurement per round: one of them
is deployed, the raw record names them all. Policies take turns within each round, forwards and backwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.context import Context
from bench.line import BED_FAILURES, LINE_FAILURES, Line, joined, removed, served, undisturbed
from bench.loads import at_rest, flat_out
from bench.on_paper import on_paper
from bench.policy_cases import Case, cases_of, described, row
from bench.policy_cells import FULL, QUICK, Amount, Goal
from bench.reasons import reason
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import StageRunner, load_stage
from schemas.deployment import Deployment
from schemas.plan import Plan
from services.planner.errors import PlanningError
from services.planner.fleet import Fleet, read_fleet
from services.planner.policies import policy_names
from services.planner.rows_known import RowsKnown, rows_of

NOT_LIVE: Final = ("brute-force", "bandit", "ppo")
"""An oracle for tests, which finds what exact finds, after hours; and those that begin with exact's plan and learn
(`bench/learning`)."""

_SETTINGS: Final = {"STAGELINE_DRAIN_S": "0.3", "STAGELINE_LINK_PERIOD_S": "3600"}
"""Plans follow one another here: what the one before left is gone before the next is measured. And links are measured
at the start only: they do not change, and every policy should plan with the same facts."""


def run(context: Context) -> dict[str, Any]:
    """Measure every policy on every fleet and model: a row each."""
    amount = QUICK if context.quick else FULL
    rows: list[dict[str, Any]] = []
    cells = [(stem, model) for stem, models in amount.cells.items() for model, _goals in models]
    for stem, models in amount.cells.items():
        left = list(models)
        while left:
            context.progress(f"{stem}: devices joining", cells.index((stem, left[0][0])) / len(cells))
            with testbed(context.fleet(stem), library=context.library.root, environment=_SETTINGS) as bed:
                while left:
                    model, goals = left.pop(0)
                    context.progress(f"{stem}: {model}", cells.index((stem, model)) / len(cells))
                    try:
                        rows += asyncio.run(_rows(context, bed, model, goals, amount))
                    except (*LINE_FAILURES, *BED_FAILURES) as error:
                        rows += lost(bed.fleet.name, model, reason(error))
                        context.raw("policies", {"fleet": bed.fleet.name, "model": model, "failed": reason(error)})
                        break  # what it left behind would be in the next model's way: on with new devices
    return {"policies": rows}


def lost(fleet: str, model: str, why: str) -> list[dict[str, Any]]:
    """Rows of a model whose measurement ended too soon: no figures, and why; single ones are in the raw record."""
    return [{**row(fleet, model, name, [], {}), "note": why, "failed": why} for name in _policies()]


def _policies() -> list[str]:
    return [name for name in policy_names() if name not in NOT_LIVE]


@dataclass(frozen=True)
class _Cell:
    """One model on one fleet."""

    bus: Bus
    bed: Testbed
    model: str
    reference: StageRunner
    amount: Amount


async def _rows(
    context: Context, bed: Testbed, model: str, goals: Sequence[Goal], amount: Amount
) -> list[dict[str, Any]]:
    card = context.card(model)
    reference = load_stage(card, context.library.blobs, 0, len(card.blocks))
    names = _policies()
    async with Bus(bed.url, name="bench-policies") as bus:
        await joined(bus, bed)
        # Has all devices measure the model; from then on every plan can be made on paper.
        async with served(bus, bed, _wish(model, names[0], goals[0])):
            fleet = await read_fleet(bus)
        rows = rows_of(card, context.library.blobs.read(card.graph.sha256))
        made = {(name, goal): _made(fleet, _wish(model, name, goal), rows) for goal in goals for name in names}
        cases = cases_of({key: plan for key, plan in made.items() if isinstance(plan, Plan)})
        cell = _Cell(bus, bed, model, reference, amount)
        for number in range(max(amount.rounds, amount.latency_rounds)):
            turns = [case for case in cases if case.goal == "latency" or number < amount.rounds]
            for case in turns if number % 2 == 0 else reversed(turns):
                seen = await _measure(cell, case)
                context.raw("policies", {"fleet": bed.fleet.name, "model": model, "round": number, **seen})
        await removed(bus, model)
    reference.close()
    refusals = {key: plan for key, plan in made.items() if isinstance(plan, str)}
    unshaped = "; ".join(bed.unshaped)
    return [{**row(bed.fleet.name, model, name, cases, refusals), "unshaped": unshaped} for name in names]


def _wish(model: str, policy: str, goal: Goal) -> Deployment:
    return Deployment(deployment=model, model=model, objective=goal, policy=policy)


def _made(fleet: Fleet, wish: Deployment, rows: RowsKnown | None) -> Plan | str:
    try:
        return on_paper(fleet, wish, rows)
    except PlanningError as error:
        return str(error)


async def _measure(cell: _Cell, case: Case) -> dict[str, Any]:
    """One turn of one case; what fails is noted and leaves the case without a value."""
    record: dict[str, Any] = {"policies": case.policies, "objective": case.goal, "plan": case.plan}
    wish = _wish(cell.model, case.policies[0], case.goal)
    try:
        async with served(cell.bus, cell.bed, wish, reference=cell.reference) as line:
            # Should be what was planned on paper, from the same facts; what is served is what counts.
            case.plan = record["live_plan"] = described(line.plan)
            case.predicted = line.plan.predicted
            if case.goal == "throughput":
                record["throughput_rps"] = (await flat_out(cell.bed, line, cell.amount.flat_out_s)).throughput_rps
                case.values.append(record["throughput_rps"])
            else:
                await undisturbed(cell.bus, line.plan)
                record["latencies_ms"] = await at_rest(line, cell.amount.one_by_one)
                case.values.extend(record["latencies_ms"])
            _settle(case, line)
    except LINE_FAILURES as error:
        record["failed"] = reason(error)
        case.failures.append(record["failed"])
    cell.bed.check()
    return record


def _settle(case: Case, line: Line) -> None:
    case.error = max([line.error, *([case.error] if case.error == case.error else [])])
    if line.replanned:
        case.notes.append("another plan took over while it was measured")
