"""`stageline deploy`: ask for models to be served, watch them become ready, show the plans and the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.deployment import Deployment
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct, open_bus, settings_of
from stageline.commands.roll_out import ROLL_OUT_ERRORS, roll_out, warn_of_strangers
from stageline.deploying import check_model
from stageline.wish_file import BadWishFileError, load_wishes
from stageline.wishes import make_wish

_BESIDE_FILE: Final = frozenset({"file", "wait", "timeout_s", "broker", "root", "json"})
"""Options that say nothing of a deployment, so that a file can be given beside them."""


def deploy(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="A model of the hub's library (`stageline models`).")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Deploy what this TOML file says; see above.")
    ] = None,
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
    weight: options.Weight = 1.0,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Of the deployment; else the model's.")] = None,
    wait: options.Wait = True,
    timeout_s: options.ServedWithin = 180.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Have a model served. Asking again under the same name replaces the plan while it serves; nothing is lost.

    The planner has devices measure the model that have not yet, decides, has the weights sent where they are needed,
    and switches over when every stage is ready. What it decided and why is shown, and `stageline plan` shows it again.

    stageline deploy mobilenet_v2 --objective throughput --latency-bound-ms 200

    stageline deploy resnet18 --pin camera=0:3 --memory-limit pi4=200   (raw pixels never leave the camera)

    stageline deploy cifar10-exits --accuracy-min 0.7   (a model with exits: easy inputs leave early)

    stageline deploy --file wishes.toml   (all that it says, one after the other; what it does not say stays)

    In the file every deployment is a table \\[\\[deployment]] with a model and, named as the options here, what else is
    wanted: model = "resnet18", name = "cats", weight = 2, pin = \\["camera=0:3"], exclude = \\["pi3"],
    memory_limit = \\["pi4=200"], threshold = \\["exit1=0.8"], close_exit = \\["exit2"], accuracy_min, objective,
    latency_weight, latency_bound_ms, codec, policy, side_by_side = false.

    Exit codes: 0 served; 1 there is no plan (the reason is shown; if the plan before it goes on serving, what was asked
    for before stays asked for); 2 to mend: an option, a field of the file, an unknown model, no broker, no planner.
    """

    async def work(report: Report) -> int:
        if file is not None:
            given = _given_beside_file(context)
            if given:
                raise MendError(f"{given[0]} and --file: write it into {file}, or leave the file out")
            wishes: tuple[Deployment, ...] = load_wishes(file)
        elif model is None:
            raise MendError("say which model: stageline deploy MODEL (`stageline models` lists them), or --file FILE")
        else:
            wishes = (
                make_wish(
                    model, deployment=name, pins=pin or (), memory_limits=memory_limit or (), exclude=exclude or (),
                    objective=objective, latency_weight=latency_weight, latency_bound_ms=latency_bound_ms,
                    codec=codec, policy=policy, weight=weight, thresholds=threshold or (),
                    closed_exits=close_exit or (), accuracy_min=accuracy_min, side_by_side=side_by_side,
                ),
            )  # fmt: skip
        code, documents = DONE, []
        async with open_bus(settings_of(broker=broker, root=root), "deploy") as bus:
            for wish in wishes if file is not None else ():
                await check_model(bus, wish.model)  # Before the first of them is deployed.
            for wish in wishes:
                await warn_of_strangers(report, bus, wish)
                outcome, document = await roll_out(report, bus, wish, wait=wait, timeout_s=timeout_s)
                code = max(code, outcome)
                documents.append(document)
        report.write_json(documents[0] if file is None else documents)
        return code

    conduct(json, work, known=(*ROLL_OUT_ERRORS, BadWishFileError))


def _given_beside_file(context: typer.Context) -> list[str]:
    """What was typed of that which belongs into the file."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in _BESIDE_FILE and source is not None and source.name == "COMMANDLINE":
            given.append(parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.opts[0].upper())
    return given
