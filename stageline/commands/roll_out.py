"""What every command that changes a deployment does: publish the wish, show how far it is, then the plan and why."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from broker.bus import Bus
from schemas.deployment import Deployment
from schemas.topics import DEPLOYMENT, MODEL_CARD, PLAN_CURRENT
from services.planner.fleet import read_fleet
from services.planner.pins import PinError, check_pins
from stageline.commands.conduct import DONE, SOME_FAILED, Report
from stageline.deploying import (
    DeployFailedError,
    NoPlannerError,
    NoSuchModelError,
    Rollout,
    SilentPlannerError,
    check_model,
    refusal,
    still_served,
    take_back,
    wish_of,
)
from stageline.deploying import deploy as deploy_and_wait
from stageline.plan_tables import plan_document, show_decision
from stageline.wishes import BadWishError, check_exit_wish, strangers

ROLL_OUT_ERRORS = (BadWishError, NoPlannerError, NoSuchModelError, SilentPlannerError)
"""What a person must mend before anything can be rolled out."""


async def roll_out(
    report: Report, bus: Bus, wish: Deployment, *, wait: bool, timeout_s: float
) -> tuple[int, dict[str, object]]:
    """Ask for `wish`, and show what comes of it. A change that is refused is taken back: what serves stays asked for.

    Returns:
        The exit code, and what `--json` is told; with `taken_back`, nothing has changed.

    Raises:
        BadWishError: pins that no fleet could keep, exits that the model does not have.
        NoPlannerError, NoSuchModelError, SilentPlannerError: said in their messages.
    """
    await check_model(bus, wish.model)
    await _check(bus, wish)
    if wait:
        return await _served(report, bus, wish, await wish_of(bus, wish.deployment), timeout_s)
    await bus.publish(DEPLOYMENT, wish, remember=False, deployment=wish.deployment)
    report.out.print(f"Asked for {wish.deployment}; `stageline plan {wish.deployment}` shows what becomes of it")
    return DONE, {"deployment": wish.deployment, "requested": wish.requested}


async def warn_of_strangers(report: Report, bus: Bus, wish: Deployment) -> None:
    """Say which options name a device that nobody has heard of."""
    for line in strangers(wish, (await read_fleet(bus)).devices):
        report.err.print(f"warning: {line}", markup=False)


async def _check(bus: Bus, wish: Deployment) -> None:
    """What is wrong whichever devices are there is said before anybody is asked."""
    for card in (one.message for one in await bus.snapshot(MODEL_CARD, model=wish.model)):
        try:
            check_pins(wish.pins, len(card.blocks), [pin.device for pin in wish.pins])
        except PinError as error:
            raise BadWishError(f"{error} ({wish.model} has blocks [0:{len(card.blocks)}))") from None
        check_exit_wish(wish, card)


async def _served(
    report: Report, bus: Bus, wish: Deployment, before: Deployment | None, timeout_s: float
) -> tuple[int, dict[str, object]]:
    try:
        with _Bars(report.err, wish.deployment) as bars:
            decision = await deploy_and_wait(bus, wish, timeout_s=timeout_s, tell=bars.show)
    except DeployFailedError as error:
        served = await still_served(bus, wish.deployment) if error.refused else None
        why = refusal(str(error), served) if served else str(error)
        said = f"{wish.deployment}: {why}" if served else f"{wish.deployment} is not served: {why}"
        report.err.print(said, markup=False)
        document: dict[str, object] = {"deployment": wish.deployment, "error": why}
        if served is None:
            return SOME_FAILED, document
        undone = before is not None and not _same(before, wish) and await take_back(bus, wish, before)
        return SOME_FAILED, {**document, "serving_generation": served.generation, "taken_back": undone}
    plans = await bus.snapshot(PLAN_CURRENT, deployment=wish.deployment)
    cards = await bus.snapshot(MODEL_CARD, model=wish.model)
    plan = plans[0].message if plans else None
    card = cards[0].message if cards else None
    show_decision(report.out, decision, plan, card)
    what = "PICTURE" if card is not None and card.preprocess is not None else "FILE.npy"
    report.out.print(f"\nTry it:  stageline infer --deployment {wish.deployment} {what}")
    return DONE, plan_document(decision, plan)


def _same(one: Deployment, other: Deployment) -> bool:
    """Whether the same is asked for, whenever it was."""
    return one == other.model_copy(update={"requested": one.requested})


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
