"""`stageline exits set`: another threshold, a closed exit, or another least accuracy, while a deployment serves."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.deployment import Deployment
from stageline.commands import options
from stageline.commands.changing import change
from stageline.wish_changes import accuracy_kept, exits_set
from stageline.wishes import BadWishError


def set_exits(
    deployment: Annotated[str, typer.Argument(help="Which one (`stageline plan` lists them).")],
    thresholds: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXIT=0.8...", help="Who is at least so sure leaves at this exit."),
    ] = None,
    close: options.ClosedExits = None,
    usual: Annotated[
        list[str] | None, typer.Option("--usual", metavar="EXIT", help="As calibrated again. Repeatable.")
    ] = None,
    accuracy_min: options.AccuracyMin = None,
    wait: options.Wait = True,
    timeout_s: options.ServedWithin = 180.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Change where requests may leave early; all else that was asked for stays, and it goes on being served.

    stageline exits set cifar10-exits middle=0.5              (more requests leave at middle)

    stageline exits set cifar10-exits late=0.9 --close-exit middle

    stageline exits set cifar10-exits --usual middle          (as calibrated again)

    stageline exits set cifar10-exits --accuracy-min 0.7      (thresholds are chosen, together with the split)

    Thresholds given here take the place of what chose them before: --accuracy-min, or --latency-bound-ms with objective
    latency. A change of thresholds alone loads nothing: stages take it over at once, unless another split is better by
    now.

    Exit codes: 0 served like that (or it was already); 1 there is no plan with it (if the plan before it goes on
    serving, all stays as it was); 2 to mend: no such deployment or exit, a threshold that is none, no broker, no
    planner.
    """

    def edit(wish: Deployment) -> Deployment:
        if accuracy_min is not None and thresholds:
            raise BadWishError("thresholds are given or chosen for an accuracy: leave out the one or --accuracy-min")
        if accuracy_min is None and not (thresholds or close or usual):
            raise BadWishError("say what to change: EXIT=0.8, --close-exit, --usual or --accuracy-min")
        after = exits_set(wish, thresholds or (), close=close or (), usual=usual or ())
        return after if accuracy_min is None else accuracy_kept(after, accuracy_min)

    change(
        deployment, edit, name="exits-set", exits=usual or (), wait=wait, timeout_s=timeout_s, broker=broker, root=root,
        json=json,
    )  # fmt: skip
