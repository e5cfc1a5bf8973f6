"""`stageline learn`: what learning policies have found out, live."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from schemas.learning import Learning
from schemas.topics import PLAN_LEARNING
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct, open_bus, settings_of
from stageline.tables import new_table

_BY = {
    "exact": "exact's plan is served",
    "learned": "a plan is served that was measured to be better than exact's",
    "exploring": "a plan is being tried",
    "probing": "exact's plan is served for a moment, to see whether what was learned still holds",
}


def learn(
    deployment: Annotated[str | None, typer.Argument(help="Of which deployment; else of all that learn.")] = None,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Show what was learned of each deployment that learns: which plans were tried, and what they really cost.

    stageline deploy mobilenet_v2 --policy bandit

    stageline learn

    A learning policy runs in shadow beside exact: it tries a plan now and then, within a budget, and only a plan that
    has been better with confidence is served in place of exact's. `gain` is the share of the cost of exact's plan that
    a plan saves; `at least` is its lower bound, and a plan acts once that is above 2 %. `regret` is how much dearer
    what was served has been than the best plan known.

    Exit codes: 0 shown; 2 to mend: no such deployment, no broker.
    """

    async def work(report: Report) -> int:
        async with open_bus(settings_of(broker=broker, root=root), "learn") as bus:
            kept = {one.parameters["deployment"]: one.message for one in await bus.snapshot(PLAN_LEARNING)}
        if deployment is not None and deployment not in kept:
            have = f"those that do: {', '.join(sorted(kept))}" if kept else "none does"
            raise MendError(f"{deployment!r} does not learn; {have} (`stageline deploy MODEL --policy bandit`)")
        shown = {name: one for name, one in sorted(kept.items()) if deployment in (None, name)}
        if not shown:
            report.out.print("Nothing learns (`stageline deploy MODEL --policy bandit`)")
        for one in shown.values():
            show_learning(report, one)
        report.write_json([one.model_dump(mode="json") for one in shown.values()])
        return DONE

    conduct(json, work)


def show_learning(report: Report, one: Learning) -> None:
    """One deployment: where it stands, and a row for every plan that was tried."""
    why = f": {escape(one.reason)}" if one.reason else f": {_BY[one.by]}"
    report.out.print(f"[bold]{one.deployment}[/bold] ({one.policy}, {one.state}){why}")
    report.out.print(
        f"{one.decisions} decisions, {one.explored} of them to learn ({one.explored_share:.0%}), at an extra cost of "
        f"{one.extra_cost:.1%}; regret {one.regret:.1%}; gain over exact's plan "
        f"{_share(one.gain)}"
    )
    if not one.tried:
        return
    table = new_table(None, "~plan", ">predicted ms", ">measured ms", ">gain", ">at least", ">pairs", "")
    for number, tried in enumerate(one.tried):
        table.add_row(
            escape(tried.plan.replace(" | ", "\n")),
            f"{tried.predicted:.1f}",
            f"{tried.measured:.1f}" if tried.samples else "-",
            _share(tried.gain),
            _share(tried.gain_at_least),
            f"{tried.pairs:.1f}" if tried.pairs > 0 else "-",
            " ".join(["exact"] * (number == 0) + ["served"] * (tried.plan == one.serving)),
        )
    report.out.print(table)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
