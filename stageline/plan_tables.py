"""A plan and its reasons, as people read them."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.deployment import Decision
from schemas.model import ModelCard
from schemas.parts import parts_of, predicted_parts
from schemas.plan import Plan, Prediction
from stageline.tables import new_table


def show_decision(
    console: Console,
    decision: Decision,
    plan: Plan | None,
    card: ModelCard | None = None,
    *,
    on_paper: bool = False,
    refused: str = "",
) -> None:
    """The plan stage by stage, what else was considered, and why. `on_paper`: it was not deployed.

    `refused`: what to say of a later wish that there is no plan for, while `plan` serves.
    """
    if refused:
        console.print(f"[yellow]{decision.deployment}[/yellow]: {escape(refused)}")
    elif decision.error:
        console.print(f"[red]{decision.deployment}: no plan.[/red] {escape(decision.error)}")
    if plan is not None:
        state = (
            "on paper, nothing was deployed"
            if on_paper
            else f"generation {plan.generation}, {'serving' if refused else decision.state}"
        )
        console.print(
            f"[bold]{plan.deployment}[/bold]: {plan.model}, for {plan.objective}, by policy {plan.policy} "
            f"in {decision.planning_ms:.0f} ms ({state})"
        )
        for index, route in enumerate(plan.routes):
            console.print(f"  r{index}: {escape(str(route))}", markup=True, style="bold cyan")
        console.print(stage_table(plan, card))
        if plan.exits:
            console.print(f"[bold]Exits:[/bold] {escape(exits_text(plan))}")
    elif decision.state != "failed":
        console.print(f"[bold]{decision.deployment}[/bold] is {decision.state}. {escape(decision.explanation)}")
    if decision.alternatives:
        console.print(alternatives_table(decision))
    if plan is not None and decision.explanation:
        console.print(f"[bold]Why:[/bold] {escape(decision.explanation)}")
        if decision.decided_by != "none":
            console.print(f"[bold]Decided by:[/bold] {decision.decided_by}")


def stage_table(plan: Plan, card: ModelCard | None = None) -> Table:
    """One row per band and stage with its predicted times; weights where the card is known."""
    table = new_table(
        f"Predicted: {prediction_text(plan.predicted)}", "stage", "device", "blocks", ">weights MB", ">in ms",
        ">compute ms", ">out ms", "codec", ">share", ">window",
    )  # fmt: skip
    for number, route in enumerate(plan.routes):
        predicted = {part.stage: times for part, times in predicted_parts(route, number)}
        shared = route.side_by_side
        rows = [f" rows {band.gives[0]}:{band.gives[1]}" for band in shared.bands] if shared else []
        codecs = [*([shared.codec] * len(rows) if shared else ()), *(stage.codec for stage in route.stages)]
        for place, (part, codec) in enumerate(zip(parts_of(route, number), codecs, strict=True)):
            times = predicted.get(part.stage)
            weights = "-"
            if card is not None and card.sha256 == plan.card_sha:
                weights = f"{sum(block.weight_bytes for block in card.blocks[part.first : part.last]) / 1e6:.1f}"
            table.add_row(
                part.stage,
                part.device,
                f"[{part.first}:{part.last}){rows[place] if place < len(rows) else ''}",
                weights,
                *([f"{times.down_ms:.1f}", f"{times.compute_ms:.1f}", f"{times.up_ms:.1f}"] if times else ["-"] * 3),
                codec,
                f"{route.weight:.0%}" if place == 0 else "",
                str(route.window) if place == 0 else "",
            )
    return table


def exits_text(plan: Plan) -> str:
    """Where requests may leave, from which confidence on, and how many are expected to."""
    rules = [
        f"{rule.name} after block {rule.block}, from {rule.threshold:.3g} on: {rule.share:.0%}" for rule in plan.exits
    ]
    rest = max(0.0, 1 - sum(rule.share for rule in plan.exits))
    return f"{'; '.join(rules)}; to the end: {rest:.0%}"


def alternatives_table(decision: Decision) -> Table:
    """What was considered, the chosen plan first."""
    table = new_table("Considered", "~plan", ">ms", ">per s", ">J", "~")
    for one in decision.alternatives:
        given = one.predicted
        figures = (
            [f"{given.latency_ms:.1f}", f"{given.throughput_rps:.1f}", f"{given.energy_j:.2g}"] if given else ["-"] * 3
        )
        label = f"[bold]{escape(one.label)}[/bold]" + (f"\n{escape(one.plan)}" if one.plan else "")
        table.add_row(label, *figures, escape(one.reason), style="" if one.feasible else "dim")
    return table


def prediction_text(predicted: Prediction | None) -> str:
    """`12.3 ms, 81.0 per second, 0.21 J (modelled) per request`."""
    if predicted is None:
        return "nothing"
    return (
        f"{predicted.latency_ms:.1f} ms, {predicted.throughput_rps:.1f} per second, "
        f"{predicted.energy_j:.2g} J ({predicted.energy_method}) per request"
    )


def plan_document(decision: Decision | None, plan: Plan | None) -> dict[str, object]:
    """For JSON."""
    return {
        "deployment": plan.deployment if plan else decision.deployment if decision else "",
        "routes": [str(route) for route in plan.routes] if plan else [],
        "plan": plan.model_dump(mode="json") if plan else None,
        "decision": decision.model_dump(mode="json") if decision else None,
    }
