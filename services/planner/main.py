"""`stageline-planner`: keeps the picture of the fleet and the model library, makes plans and carries them out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from broker.bus import Bus
from broker.delivery import Change
from models.library import Library
from schemas.deployment import Deployment
from schemas.topics import (
    DEPLOYMENT,
    MODEL_CARD,
    PLAN_ACCURACY,
    PLAN_CURRENT,
    PLAN_DECISION,
    PLAN_LEARNING,
    PLAN_NEXT,
    Topic,
)
from services.guarding import Guard
from services.lifecycle import launch
from services.planner.adapting import Adapting
from services.planner.comparing import Comparing
from services.planner.decide import Decider
from services.planner.deployments import Deployments
from services.planner.drift import Rules
from services.planner.duties import remind
from services.planner.experience import Experience
from services.planner.hub_presence import announced, guard, heartbeat, hub_will
from services.planner.learning.live import Live
from services.planner.learning.proposers import Proposers, trained_in
from services.planner.library_server import LibraryServer
from services.planner.measuring import Measurer
from services.planner.settings import PlannerSettings
from services.planner.watch import FleetWatch
from services.presence import new_boot_id
from services.settings import load
from services.supervision import ExecutorPulse, supervised

logger = logging.getLogger(__name__)

PLANS: Final = (PLAN_CURRENT, PLAN_NEXT, PLAN_DECISION)
OURS: Final[Mapping[Topic[Any], Mapping[str, str]]] = {
    topic: {} for topic in (*PLANS, PLAN_ACCURACY, PLAN_LEARNING, MODEL_CARD)
}
"""Topics on which nobody else has anything to say."""


async def serve(settings: PlannerSettings) -> None:
    """Connect, continue from what the broker kept, then named loops until cancelled."""
    boot_id = new_boot_id()
    bus = Bus(
        settings.broker,
        name="planner",
        root=settings.root,
        will=hub_will(boot_id),
        connect_timeout_s=settings.connect_timeout_s,
    )
    watch = FleetWatch(bus, boot_id=boot_id, answer_within_s=settings.answer_within_s)
    library = LibraryServer(bus, Library(settings.library_dir))
    measurer = Measurer(bus, watch, within_s=settings.profile_timeout_s)
    experience = Experience(adapt=settings.adapt)
    proposers = Proposers(trained_in(settings.learned), transfer=settings.learned_transfer)
    decider = Decider(watch, library, measurer, experience, settings.hub_facts, proposers=proposers)
    deployments = Deployments(bus, decider, settings.patience)
    learning = Live(
        bus, deployments, lambda question: decider.ground(question, deployments.uses), proposers,
        hub=settings.hub_facts, period_s=settings.learn_period_s,
    )  # fmt: skip
    adapting = Adapting(
        watch, library, deployments, measurer, experience, hub=settings.hub_facts, rules=Rules(), holds=learning.holds
    )
    comparing = Comparing(bus, deployments, adapting)
    async with supervised(ExecutorPulse(), partial(summary, bus, watch, deployments)) as ready, bus:
        bus.on_reconnect(deployments.remind)
        bus.on_reconnect(partial(remind, bus, watch))
        async with announced(bus, boot_id) as states, asyncio.TaskGroup() as loops:
            loops.create_task(guard(bus, boot_id, states), name="presence")
            loops.create_task(heartbeat(bus, boot_id), name="heartbeat")
            loops.create_task(library.serve(), name="blobs")
            await library.scan()
            async with (
                watch.follow(deployments, adapting),
                bus.watch(DEPLOYMENT) as wishes,
                asyncio.TaskGroup() as work,
            ):
                await deployments.adopt(watch.fleet, library.cards)
                adapting.leave_alone(deployments.serving)
                await comparing.adopt()
                await learning.adopt()
                logger.info("planning", extra={"broker": bus.address, "library": settings.library_dir})
                work.create_task(Guard(bus, OURS, alone=PLANS).follow(), name="guard")
                work.create_task(library.watch(deployments.improved), name="library")
                work.create_task(follow_wishes(wishes, deployments), name="wishes")
                work.create_task(deployments.run(), name="deployments")
                work.create_task(comparing.run(), name="accuracy")
                if settings.adapt:
                    work.create_task(adapting.run(), name="reviews")
                    work.create_task(learning.run(), name="learning")
                ready()


def summary(bus: Bus, watch: FleetWatch, deployments: Deployments) -> str:
    """What it does now, in a line for people."""
    if not bus.connected:
        return f"looks for the broker at {bus.address}"
    plans = ", ".join(f"{name} generation {plan.generation}" for name, plan in sorted(deployments.serving.items()))
    return f"plans for {len(watch.fleet.usable)} devices; serving {plans or 'nothing'}"


async def follow_wishes(wishes: AsyncIterator[Change[Deployment]], deployments: Deployments) -> None:
    """Hand on what is asked for, and what is taken back."""
    async for change in wishes:
        deployments.wanted(change.parameters["deployment"], change.message)


app = typer.Typer(add_completion=False)


@app.command()
def planner(
    *,
    broker: Annotated[str | None, typer.Option(help="Address, e.g. mqtt://user:password@hub:1883.")] = None,
    library: Annotated[
        Path | None, typer.Option(help="Folder of the model library (`stageline import` fills it).")
    ] = None,
    root: Annotated[str | None, typer.Option(help="Topic root, for a second house on the same broker.")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    connect_timeout_s: Annotated[
        float | None, typer.Option(help="Give up after so long without a broker; unless given, keep trying.")
    ] = None,
    profile_timeout_s: Annotated[
        float | None, typer.Option(help="Plan without a device that has not measured a model by then.")
    ] = None,
    ready_timeout_s: Annotated[
        float | None, typer.Option(help="Plan around a device that makes no progress for so long.")
    ] = None,
    retry_s: Annotated[
        float | None, typer.Option(help="When there is no plan, try again after this, with devices that were left out.")
    ] = None,
    settle_s: Annotated[
        float | None, typer.Option(help="When a device joins and there is no plan yet, wait so long for others.")
    ] = None,
    answer_within_s: Annotated[
        float | None, typer.Option(help="How long workers have to answer when the planner (re)connects.")
    ] = None,
    adapt: Annotated[
        bool | None, typer.Option("--adapt/--no-adapt", help="Whether plans follow what devices and links can do now.")
    ] = None,
    learned: Annotated[
        Path | None, typer.Option(help="Trained policy for deployments with policy ppo (`stageline learn train`).")
    ] = None,
    learned_transfer: Annotated[
        bool | None,
        typer.Option("--learned-transfer", help="Use it for other models and fleets than it was trained on, too."),
    ] = None,
    learn_period_s: Annotated[
        float | None, typer.Option(help="Deployments that learn judge a plan by what was seen in so long, at least.")
    ] = None,
    submitter_mbps: Annotated[float | None, typer.Option(help="Link of those who ask, to the broker, Mbit/s.")] = None,
    submitter_hop_ms: Annotated[
        float | None, typer.Option(help="Round trip of those who ask to the broker and back, ms; it is not measured.")
    ] = None,
    hub_mbps: Annotated[float | None, typer.Option(help="Link of the hub itself, Mbit/s, if that is a limit.")] = None,
) -> None:
    """Plan for a fleet: which blocks of a model run on which device, and why.

    One planner runs per hub, beside the broker. It offers the models of its library, has devices measure them, and
    for every deployment publishes the plan (plan/NAME/next, then current) and its reasons (plan/NAME/decision).
    `stageline deploy MODEL` asks for a plan. All that it knows besides the library is on the broker, so it may be
    stopped and started at any time: what is being served goes on.

    Every flag can be given as STAGELINE_<NAME> in the environment instead; flags win. Watch it think with:

    mosquitto_sub -h HUB -v -t 'stageline/v1/plan/#'

    Exit codes: 0 asked to stop, 1 crashed, 2 something to mend (a setting, a second planner, no broker).
    """
    flags = dict(locals())
    raise typer.Exit(launch(partial(load, PlannerSettings, **flags), serve))


def main() -> None:
    """Entry point of `stageline-planner`."""
    app()


if __name__ == "__main__":
    main()
