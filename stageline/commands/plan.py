"""`stageline plan`: what is served and why, or what would be, without deploying it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.markup import escape

from broker.bus import Bus
from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from schemas.topics import MODEL_CARD, PLAN_CURRENT, PLAN_DECISION
from services.planner.errors import PlanningError
from services.planner.events import Decide
from services.planner.plan_making import make_plan
from services.planner.settings import PlannerSettings
from services.settings import load
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct, open_bus, settings_of
from stageline.deploying import NoSuchModelError, refusal, still_served
from stageline.fleet_now import ground_now
from stageline.plan_tables import plan_document, prediction_text, show_decision
from stageline.tables import new_table
from stageline.wishes import BadWishError, check_exit_wish, make_wish


def plan(
    target: Annotated[
        str | None, typer.Argument(help="A deployment; with --dry-run a model. Without: all deployments.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan MODEL on paper, for the fleet as it is now.")
    ] = False,
    objective: options.Objective = "latency",
    latency_weight: options.LatencyWeight = 0.5,
    latency_bound_ms: options.LatencyBound = None,
    pin: options.Pins = None,
    exclude: options.Exclude = None,
    memory_limit: options.MemoryLimits = None,
    codec: options.Codec = "fp32",
    policy: options.Policy = "exact",
    threshold: options.Thresholds = None,
    close_exit: options.ClosedExits = None,
    accuracy_min: options.AccuracyMin = None,
    side_by_side: options.SideBySide = True,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Show which blocks run where, what each stage should take, what else was considered, and why this won.

    stageline plan                                  (every deployment, a line each; the only one in full)

    stageline plan mobilenet_v2

    stageline plan mobilenet_v2 --dry-run -o throughput --memory-limit pi4=20      (nothing is deployed)

    The options from --objective to --side-by-side are for --dry-run. `stageline plan compare MODEL` plans by every
    policy, and `stageline plan policies` lists them; a deployment of such a name is shown by
    `stageline plan -- compare`.

    Exit codes: 0 there is a plan; 1 there is none (the reason is shown); 2 to mend: no such deployment or model, no
    broker, an option.
    """

    async def work(report: Report) -> int:
        async with open_bus(settings_of(broker=broker, root=root), "plan") as bus:
            if not dry_run:
                return await _served(report, bus, target)
            if target is None:
                raise MendError("say which model: stageline plan MODEL --dry-run")
            wish = make_wish(
                target, pins=pin or (), memory_limits=memory_limit or (), exclude=exclude or (), objective=objective,
                latency_weight=latency_weight, latency_bound_ms=latency_bound_ms, codec=codec, policy=policy,
                thresholds=threshold or (), closed_exits=close_exit or (), accuracy_min=accuracy_min,
                side_by_side=side_by_side,
            )  # fmt: skip
            return await _on_paper(report, bus, wish)

    conduct(json, work, known=(BadWishError, NoSuchModelError))


async def _served(report: Report, bus: Bus, deployment: str | None) -> int:
    decisions = {one.parameters["deployment"]: one.message for one in await bus.snapshot(PLAN_DECISION)}
    plans = {one.parameters["deployment"]: one.message for one in await bus.snapshot(PLAN_CURRENT)}
    decisions = {name: one for name, one in decisions.items() if one.state != "removed"}
    if deployment is None:
        if len(decisions) == 1:
            name, decision = next(iter(decisions.items()))
            await _show(report, bus, decision, plans.get(name))
        else:
            _show_all(report, decisions, plans)
        report.write_json([plan_document(decision, plans.get(name)) for name, decision in sorted(decisions.items())])
        return DONE
    if deployment not in decisions:
        have = f"there are {', '.join(sorted(decisions))}" if decisions else "there is none"
        raise MendError(f"no deployment {deployment!r}: {have}. `stageline plan MODEL --dry-run` plans on paper")
    served, decision = plans.get(deployment), decisions[deployment]
    await _show(report, bus, decision, served)
    report.write_json(plan_document(decision, served))
    return DONE if served is not None else SOME_FAILED


async def _show(report: Report, bus: Bus, decision: Decision, served: Plan | None) -> None:
    """One deployment in full."""
    cards = await bus.snapshot(MODEL_CARD, model=served.model) if served else []
    serving = await still_served(bus, decision.deployment) if decision.error else None
    refused = refusal(decision.error, serving) if serving else ""
    show_decision(report.out, decision, served, cards[0].message if cards else None, refused=refused)


def _show_all(report: Report, decisions: dict[str, Decision], plans: dict[str, Plan]) -> None:
    """A row each, and below them why some have no plan."""
    if not decisions:
        report.out.print("Nothing is deployed (`stageline deploy MODEL`)")
        return
    table = new_table(None, "deployment", "state", ">generation", "~routes", "~predicted")
    for name, decision in sorted(decisions.items()):
        served = plans.get(name)
        routes = str(served).replace(" | ", "\n") if served else "-"
        predicted = prediction_text(served.predicted) if served else "-"
        table.add_row(name, decision.state, str(served.generation) if served else "-", escape(routes), predicted)
    report.out.print(table)
    for name, decision in sorted(decisions.items()):
        if name not in plans and (why := decision.error or decision.explanation):
            report.out.print(f"[bold]{name}[/bold]: {escape(why)}")


async def _on_paper(report: Report, bus: Bus, wish: Deployment) -> int:
    # The planner's own settings, as far as this environment has them: the same links for hub and submitters.
    facts = load(PlannerSettings).hub_facts
    try:
        ground = await ground_now(bus, wish, lambda line: report.err.print(f"warning: {line}", markup=False))
        check_exit_wish(wish, ground.card)
        made, decision = await asyncio.to_thread(make_plan, Decide(0, wish, {}), ground, facts)
    except PlanningError as error:
        return _no_plan(report, wish, str(error))
    show_decision(report.out, decision, made, ground.card, on_paper=True)
    report.write_json({**plan_document(decision, made), "dry_run": True})
    return DONE


def _no_plan(report: Report, wish: Deployment, why: str) -> int:
    report.err.print(f"no plan: {why}", markup=False)
    report.write_json({"deployment": wish.deployment, "error": why})
    return SOME_FAILED
