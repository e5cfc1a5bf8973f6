"""`stageline deploy`: ask for a model to be served, watch it become ready, show the plan and the reason."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from broker.bus import Bus
from schemas.deployment import Deployment
from schemas.topics import DEPLOYMENT, MODEL_CARD, PLAN_CURRENT
from services.planner.fleet import read_fleet
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct, open_bus, settings_of
from stageline.deploying import (
    DeployFailedError,
    NoPlannerError,
    NoSuchModelError,
    Rollout,
    SilentPlannerError,
    check_model,
    refusal,
    still_served,
)
from stageline.deploying import deploy as deploy_and_wait
from stageline.plan_tables import plan_document, show_decision
from stageline.wishes import BadWishError, make_wish, strangers


def deploy(
    model: Annotated[str, typer.Argument(help="A model of the hub's library (`stageline models`).")],
    objective: options.Objective = "latency",
    latency_weight: options.LatencyWeight = 0.5,
    latency_bound_ms: options.LatencyBound = None,
    pin: options.Pins = None,
    exclude: options.Exclude = None,
    memory_limit: options.MemoryLimits = None,
    codec: options.Codec = "fp32",
    policy: options.Policy = "exact",
    name: Annotated[str | None, typer.Option("--name", "-n", help="Of the deployment; else the model's.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it is served, or at once.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for it.")] = 180.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Have a model served. Asking again under the same name replaces the plan while it serves; nothing is lost.

    The planner has devices measure the model that have not yet, decides, has the weights sent where they are needed,
    and switches over when every stage is ready. What it decided and why is shown, and `stageline plan` shows it again.

    stageline deploy mobilenet_v2 --objective throughput --latency-bound-ms 200

    stageline deploy resnet18 --pin camera=0:3 --memory-limit pi4=200   (raw pixels never leave the camera)

    Exit codes: 0 served; 1 there is no plan (the reason is shown, and whether the plan before it goes on serving); 2 to
    mend: an option, an unknown model, no broker, no planner.
    """

    async def work(report: Report) -> int:
        settings = settings_of(broker=broker, root=root)
        wish = make_wish(
            model, deployment=name, pins=pin or (), memory_limits=memory_limit or (), exclude=exclude or (),
            objective=objective, latency_weight=latency_weight, latency_bound_ms=latency_bound_ms, codec=codec,
            policy=policy,
        )  # fmt: skip
        async with open_bus(settings, "deploy") as bus:
            await check_model(bus, model)
            for line in strangers(wish, (await read_fleet(bus)).devices):
                report.err.print(f"warning: {line}", markup=False)
            if not wait:
                await bus.publish(DEPLOYMENT, wish, remember=False, deployment=wish.deployment)
                report.out.print(
                    f"Asked for {wish.deployment}; `stageline plan {wish.deployment}` shows what becomes of it"
                )
                report.write_json({"deployment": wish.deployment, "requested": wish.requested})
                return DONE
            return await _deploy(report, bus, wish, timeout_s)

    conduct(json, work, known=(BadWishError, NoPlannerError, NoSuchModelError, SilentPlannerError))


async def _deploy(report: Report, bus: Bus, wish: Deployment, timeout_s: float) -> int:
    try:
        with _Bars(report.err, wish.deployment) as bars:
            decision = await deploy_and_wait(bus, wish, timeout_s=timeout_s, tell=bars.show)
    except DeployFailedError as error:
        served = await still_served(bus, wish.deployment) if error.refused else None
        why = refusal(str(error), served) if served else str(error)
        said = f"{wish.deployment}: {why}" if served else f"{wish.deployment} is not served: {why}"
        report.err.print(said, markup=False)
        document = {"deployment": wish.deployment, "error": why}
        report.write_json(document | ({"serving_generation": served.generation} if served else {}))
        return SOME_FAILED
    plans = await bus.snapshot(PLAN_CURRENT, deployment=wish.deployment)
    cards = await bus.snapshot(MODEL_CARD, model=wish.model)
    plan = plans[0].message if plans else None
    card = cards[0].message if cards else None
    show_decision(report.out, decision, plan, card)
    what = "PICTURE" if card is not None and card.preprocess is not None else "FILE.npy"
    report.out.print(f"\nTry it:  stageline infer --deployment {wish.deployment} {what}")
    report.write_json(plan_document(decision, plan))
    return DONE


class _Bars:
    """What is going on, and one bar per device while it gets ready."""

    def __init__(self, console: Console, deployment: str) -> None:
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30),
            TextColumn("{task.fields[state]}"), TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip
        self._whole = self._progress.add_task(f"{deployment}: asking the planner", total=None, state="")
        self._deployment = deployment
        self._devices: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, rollout: Rollout) -> None:
        """Move the bars."""
        if rollout.decision is not None:
            self._progress.update(
                self._whole, description=f"{self._deployment}: {rollout.decision.state}", state=_short(rollout)
            )
        for gone in self._devices.keys() - rollout.devices.keys():
            self._progress.remove_task(self._devices.pop(gone))
        for device, (share, state) in rollout.devices.items():
            if device not in self._devices:
                self._devices[device] = self._progress.add_task(f"  {device}", total=1.0, state=state)
            self._progress.update(self._devices[device], completed=share, state=state)


def _short(rollout: Rollout) -> str:
    text = rollout.decision.explanation if rollout.decision and rollout.decision.state == "profiling" else ""
    return text if len(text) < 60 else f"{text[:57]}..."
