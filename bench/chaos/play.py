"""Plays one scenario on devices that run: deploys, loads, lets the fault happen, and judges what was seen."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

from bench.chaos.load import Generator, references
from bench.chaos.observer import observed
from bench.chaos.outcome import Outcome, judged
from bench.chaos.record import Record
from bench.chaos.scenario import DEPLOYMENT, Scenario
from bench.chaos.scene import NotHereError, NotInTimeError, Scene
from bench.line import joined, removed, served
from bench.reasons import reason
from bench.testbed import Testbed
from broker.bus import Bus
from models.library import Library
from models.runtime import StageRunner, load_stage
from schemas.model import ModelCard
from stageline.emulation.house import ServiceEndedError

Tell = Callable[[str], None]
_SETTLED_S = 20.0


def play(scenario: Scenario, bed: Testbed, library: Library, *, folder: Path, quick: bool, tell: Tell) -> Outcome:
    """Play it to its end.

    Args:
        scenario: what to play; its own load, or a smaller one when `quick`.
        bed: of the scenario's fleet, with `library` as its planner's.
        library: the model is imported into it when it is not there.
        folder: for what the fault writes; made when it is missing.
        quick: whether less will do.
        tell: told what is going on.

    Raises:
        stageline.deploying.DeployFailedError: the planner has no plan to begin with.
        TimeoutError: the devices did not join.
    """
    if (why_not := why_not_here(scenario, bed)) is not None:
        return Outcome.left_out_because(scenario, why_not)
    tell("importing the model")
    card = scenario.model(library, quick)
    reference = load_stage(card, library.blobs, 0, len(card.blocks))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(_play(scenario, bed, library, card, reference, folder, quick, tell))
    finally:
        reference.close()


def why_not_here(scenario: Scenario, bed: Testbed) -> str | None:
    """Why a scenario cannot be played on these devices, for people; None when it can."""
    if "links" in scenario.needs and bed.links is None:
        return "; ".join(bed.unshaped) or "links are not emulated here"
    if "groups" in scenario.needs and not all(device.enforced for device in bed.devices):
        return f"CPU is limited by {bed.devices[0].method}, which starts whatever was stopped (no control groups here)"
    return None


async def _play(  # noqa: PLR0917  one call; all of it makes a scene
    scenario: Scenario,
    bed: Testbed,
    library: Library,
    card: ModelCard,
    reference: StageRunner,
    folder: Path,
    quick: bool,
    tell: Tell,
) -> Outcome:
    load = scenario.load.quick() if quick else scenario.load
    inputs = scenario.inputs(card)
    expected = references(reference, inputs)
    record = Record()
    tell("devices joining")
    async with Bus(bed.url, name="chaos") as bus:
        await joined(bus, bed, links_settled="links" in scenario.needs and not quick)
        tell("deploying")
        async with served(bus, bed, scenario.wish(card, bed.fleet)) as line, observed(bus, record):
            generator = Generator(line.client, inputs, expected, record, load)
            scene = Scene(
                scenario=scenario, bed=bed, bus=bus, client=line.client, card=card, library=library,
                reference=reference, record=record, generator=generator, folder=folder, quick=quick,
            )  # fmt: skip
            running = asyncio.create_task(generator.run())
            try:
                tell("playing")
                await _story(scene, running, load.before_s)
                tell("waiting for the last answers")
                generator.finish()
                await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await _afterwards(scene)
        tell("removing the deployment")
        if not await scene.whatever_comes(removed(bus, DEPLOYMENT), within_s=_SETTLED_S):
            scene.demand(False, "the deployment could not be removed afterwards")
    return judged(scene)


async def _story(scene: Scene, running: asyncio.Task[None], before_s: float) -> None:
    """Requests are answered for a while, then the fault happens; what it could not do is a complaint."""
    try:
        await scene.until(lambda: scene.record.in_flight > 0 or running.done(), "a request is submitted", within_s=10)
        await scene.until(lambda: any(one.answered for one in scene.record.shown), "a first answer", within_s=30)
        await asyncio.sleep(before_s)
        await scene.scenario.fault(scene)
        scene.demand(scene.record.struck_s is not None, "the fault never struck")
    except (NotInTimeError, NotHereError, TimeoutError) as error:
        scene.demand(False, str(error) or reason(error))
    except Exception as error:  # whatever a fault meets, what was seen until then is worth telling
        scene.demand(False, reason(error))
        scene.broken = True
        text = "".join(traceback.format_exception(error))
        (scene.folder / "traceback.txt").write_text(text, encoding="utf-8")


async def _afterwards(scene: Scene) -> None:
    """What must be so after any scenario: everything runs, and the client's own audit says what its caller saw."""
    try:
        scene.bed.check()
    except ServiceEndedError as error:
        scene.demand(False, str(error))
        scene.broken = True
    audit = scene.client.audit
    answered = len({one.index for one in scene.record.shown if one.answered})
    scene.demand(
        audit.answered == answered, f"the client says {audit.answered} were answered, its caller saw {answered}"
    )
    scene.demand(audit.lost == 0, f"the client says {audit.lost} are lost")
