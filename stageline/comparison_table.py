"""A comparison of policies, as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.planner.cost import Problem
from stageline.policy_comparison import Figures, Row, best_of, short_plan
from stageline.tables import new_table

_COLUMNS: Final = {
    "latency_ms": ">ms",
    "throughput_rps": ">per s",
    "energy_j": ">J",
    "moved_bytes": ">kB moved",
    "largest_stage_bytes": ">MB largest",
    "memory_bytes": ">MB in all",
    "planning_ms": ">planned ms",
}
_BESIDE_COLUMNS: Final = 130
"""Terminals that are at least so wide have room for the plans in the same table."""


def show_comparison(console: Console, problem: Problem, rows: Sequence[Row]) -> None:
    """One row per policy, the best of each column marked with a star; plans beside, or below where that is narrow."""
    beside = console.width >= _BESIDE_COLUMNS
    console.print(figures_table(problem, rows, plans=beside))
    if not beside:
        table = new_table(None, "policy", "~plan")
        for row in rows:
            table.add_row(row.policy, _plan(row), style="" if row.choice else "dim")
        console.print(table)
    console.print(
        "* best of its column. Predicted, except for the planning time. Per request: J of the devices used, kB through "
        "the broker. MB of memory: the largest stage, all stages."
    )
    if remark := rows_remark(rows):
        console.print(remark, markup=False)


def rows_remark(rows: Sequence[Row]) -> str:
    """Why a policy may beat brute force: not all of them know of rows side by side; empty where none shares any."""
    sharing = [row.policy for row in rows if row.choice and any(route.side_by_side for route in row.choice.routes)]
    if not sharing or len(sharing) == len(rows):
        return ""
    return (
        f"Several devices share rows of the first blocks in the plans of {', '.join(sharing)} only. The other policies "
        "know nothing but whole blocks; brute-force tries all plans of those."
    )


def figures_table(problem: Problem, rows: Sequence[Row], *, plans: bool) -> Table:
    """The figures, and the plans where they are wanted."""
    methods = {row.figures.energy_method for row in rows if row.figures is not None}
    headings = {**_COLUMNS, "energy_j": f">J {next(iter(methods))}"} if len(methods) == 1 else _COLUMNS
    texts = {row.policy: _texts(row.figures, tagged=len(methods) > 1) for row in rows if row.figures is not None}
    # What reads the same is marked the same, whatever the digits behind it say.
    best = {name: {texts[policy][name] for policy in policies} for name, policies in best_of(rows).items()}
    where = f"{len(problem.devices)} devices" if len(problem.devices) > 1 else "one device"
    title = f"{problem.card.name} on {where}, planned for {problem.deployment.objective}"
    table = new_table(title, "policy", *headings.values(), *(["~plan"] if plans else []))
    for row in rows:
        own = texts.get(row.policy)
        cells = [_marked(own[name], best=own[name] in best[name]) if own else "-" for name in _COLUMNS]
        table.add_row(row.policy, *cells, *([_plan(row)] if plans else []), style="" if own else "dim")
    return table


def _marked(text: str, *, best: bool) -> str:
    return f"[bold green]{text} *[/bold green]" if best else f"{text}  "


def _plan(row: Row) -> str:
    return escape(short_plan(row.choice.routes) if row.choice else f"no plan: {row.reason}")


def comparison_document(problem: Problem, rows: Sequence[Row]) -> dict[str, Any]:
    """For JSON."""
    return {
        "model": problem.card.name,
        "objective": problem.deployment.objective,
        "devices": [
            {
                "device": facts.name,
                "cores": facts.info.capacity_cores,
                "memory_budget_bytes": facts.memory_budget_bytes,
                "whole_model_ms": sum(facts.profile.block_ms),
                "up_mbps": facts.link.up_mbps,
                "down_mbps": facts.link.down_mbps,
                "rtt_ms": facts.link.rtt_ms,
                "power": facts.info.power.model_dump(mode="json"),
            }
            for facts in problem.devices
        ],
        "policies": [row.as_dict() for row in rows],
        "best": {name: sorted(policies) for name, policies in best_of(rows).items()},
    }


def _texts(figures: Figures, *, tagged: bool) -> dict[str, str]:
    return {
        "latency_ms": f"{figures.latency_ms:.1f}",
        "throughput_rps": f"{figures.throughput_rps:.1f}",
        "energy_j": f"{figures.energy_j:.3g}{f' {figures.energy_method}' if tagged else ''}",
        "moved_bytes": f"{figures.moved_bytes / 1e3:.0f}",
        "largest_stage_bytes": f"{figures.largest_stage_bytes / 1e6:.1f}",
        "memory_bytes": f"{figures.memory_bytes / 1e6:.1f}",
        "planning_ms": f"{figures.planning_ms:.1f}",
    }
