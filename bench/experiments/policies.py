"""Every policy, live: its plan is made and rolled out by the real planner and served by the real workers.

Throughput is of the plan that a policy makes for throughput, flat out; latency of the plan that it makes for latency,
one request at a time. Policies whose plans for an objective are the same share one measurement per round: one of them
is deployed, the raw record names them all. Policies take turns within each round, forwards and backwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final, Literal

from bench.context import Context
from bench.line import BED_FAILURES, LINE_FAILURES, Line, joined, removed, served, undisturbed
from bench.loads import at_rest, flat_out
from bench.on_paper import on_paper, sameness
from bench.reasons import reason
from bench.statistics import median, spread
from bench.testbed import Testbed, testbed
from broker.bus import Bus
from models.runtime import StageRunner, load_stage
from schemas.deployment import Deployment
from schemas.plan import Plan, Prediction
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

Goal = Literal["throughput", "latency"]
GOALS: Final[tuple[Goal, ...]] = ("throughput", "latency")


@dataclass(frozen=True)
class Amount:
    """How much, how often and of what."""

    fleets: dict[str, tuple[str, ...]]
    """Models, by fleet."""
    rounds: int
    flat_out_s: float
    one_by_one: int
    """Requests per round for latency."""
    latency_rounds: int
    """Of latency alone: short and often, because what disturbs it comes in bursts."""
    latency_only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Further models, by fleet, of which no throughput is measured."""

    @property
    def cells(self) -> dict[str, tuple[tuple[str, tuple[Goal, ...]], ...]]:
        """By fleet, all its models and what is measured of each."""
        stems = dict.fromkeys((*self.fleets, *self.latency_only))
        both = {stem: [(model, GOALS) for model in self.fleets.get(stem, ())] for stem in stems}
        return {
            stem: (*both[stem], *((model, ("latency",)) for model in self.latency_only.get(stem, ()))) for stem in stems
        }


FULL: Final = Amount(
    {
        "hml": ("mobilenet_v2", "resnet18", "squeezenet1_1"),
        "hhml": ("mobilenet_v2",),
        "pis": ("mobilenet_v2",),
        "weak_link": ("mobilenet_v2",),
    },
    rounds=2,
    flat_out_s=2.0,
    one_by_one=8,
    latency_rounds=3,
    latency_only={
        "hm": ("mobilenet_v2", "resnet18", "squeezenet1_1"),
        "hhml": ("resnet18", "squeezenet1_1"),
        "pis": ("resnet18", "squeezenet1_1"),
        "weak_link": ("resnet18", "squeezenet1_1"),
        "eight": ("mobilenet_v2",),
    },
)
QUICK: Final = Amount({"hml": ("mobilenet_v2",)}, rounds=1, flat_out_s=1.5, one_by_one=6, latency_rounds=2)


@dataclass
class Case:
    """Policies that make the same plan for one goal, and what was seen of it."""

    goal: Goal
    policies: list[str]
    plan: str
    predicted: Prediction | None
    values: list[float] = field(default_factory=list)
    """Of throughput: one per round. Of latency: one per request."""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Of turns that gave no value."""
    error: float = float("nan")


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


def cases_of(plans: dict[tuple[str, Goal], Plan]) -> list[Case]:
    """One case per goal and different plan, in the order of the policies; plans by policy and goal."""
    cases: dict[tuple[Goal, str], Case] = {}
    for (policy, goal), plan in plans.items():
        key = (goal, sameness(plan, flat_out=goal == "throughput"))
        if key in cases:
            cases[key].policies.append(policy)
        else:
            cases[key] = Case(goal, [policy], described(plan), plan.predicted)
    return list(cases.values())


def described(plan: Plan) -> str:
    """As a plan prints, with the shares of its routes where there are several."""
    if len(plan.routes) == 1:
        return str(plan)
    return " | ".join(f"r{number}: {route} ({route.weight:.0%})" for number, route in enumerate(plan.routes))


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


def row(
    fleet: str, model: str, policy: str, cases: Sequence[Case], refusals: dict[tuple[str, Goal], str]
) -> dict[str, Any]:
    """What is known of one policy: null where there is no figure, and then a note that says why."""
    mine = {case.goal: case for case in cases if policy in case.policies}
    fast, quick = mine.get("throughput"), mine.get("latency")
    shown = fast or quick
    notes = [*(f"for {goal}: {refusals[policy, goal]}" for goal in GOALS if (policy, goal) in refusals)]
    notes += _each(note for case in mine.values() for note in case.notes)
    failures = _each(failure for case in mine.values() for failure in case.failures)
    errors = [case.error for case in mine.values() if case.error == case.error]
    return {
        "fleet": fleet,
        "model": model,
        "policy": policy,
        "objective": "throughput_rps of its plan for throughput, latency_ms of its plan for latency",
        "throughput_rps": median(fast.values) if fast and fast.values else None,
        "throughput_spread": spread(fast.values) if fast and fast.values else None,
        "rounds": len(fast.values) if fast else 0,
        "latency_ms": median(quick.values) if quick and quick.values else None,
        "latency_spread": spread(quick.values) if quick and quick.values else None,
        "latency_mean_ms": fmean(quick.values) if quick and quick.values else None,
        "predicted_rps": fast.predicted.throughput_rps if fast and fast.predicted else None,
        "predicted_latency_ms": quick.predicted.latency_ms if quick and quick.predicted else None,
        "plan": shown.plan if shown else None,
        "latency_plan": quick.plan if quick else None,
        "same_plan_as": {goal: [name for name in case.policies if name != policy] for goal, case in mine.items()},
        "max_abs_error": max(errors, default=None),
        "note": "; ".join([*notes, *failures]),
    } | ({"failed": "; ".join(failures)} if failures else {})


def _each(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(notes))
