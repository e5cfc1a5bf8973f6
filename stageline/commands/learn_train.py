"""`stageline learn train`: a policy from a recording, or from a fleet on paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from broker.embedded import MosquittoMissingError
from models.library import Library, NotInLibraryError
from services.planner.errors import PlanningError
from services.planner.learning.actor import Actor
from services.planner.learning.arms import check_learnable
from services.planner.learning.observation import FEATURES
from services.planner.learning.policy_file import (
    PolicyHeader,
    TrainedPolicy,
    load_policy,
    save_policy,
)
from services.planner.learning.policy_fits import members
from services.planner.learning.training import STEPS, NoTrainingError, Training, train
from services.planner.learning.training import Progress as Tell
from services.planner.learning.world import World
from services.planner.settings import PlannerSettings
from services.settings import load
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, check_writable, conduct, settings_of
from stageline.emulation.fleet_file import BadFleetError, load_fleet
from stageline.recorded_worlds import NoWorldError, Recorded, recorded_worlds
from stageline.recording import Recording, RecordingError
from stageline.wishes import BadWishError, make_wish


def learn_train(
    recording: Annotated[
        Path | None, typer.Argument(metavar="RECORDING", help="What a fleet said (`stageline record FILE`).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the policy goes.")] = Path("policy.npz"),
    deployment: Annotated[
        str | None, typer.Option("--deployment", "-d", metavar="NAME", help="Of a recording with several.")
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", metavar="FILE", help="Instead of a recording: devices on paper, and")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="a model of the library for them.")] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", "-o", help="for this: latency (as it is without this) or throughput.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=250, max=10_000_000, help="Decisions to train with.")] = STEPS,
    seed: options.Seed = 0,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Go on from this policy, of any fleet or model.")
    ] = None,
    library: options.Library = None,
    json: options.Json = None,
) -> None:
    """Train a policy for --policy ppo: which plan deserves a trial, and when to stay, where the cost model is wrong.

    stageline record monday.jsonl --for 600   (while requests are served)

    stageline learn train monday.jsonl --out policy.npz

    stageline learn train --fleet bench/fleets/hml.toml --model mobilenet_v2 --from policy.npz --steps 20000

    Trained is in made-up worlds around what was recorded: the same devices and plans, with links and devices that are
    slower than anybody measured. It takes a minute or two on one core, and the extra `learn` (pip install
    'stageline\\[learn]'). The hub takes the file by STAGELINE_LEARNED=FILE stageline hub. It is for this model and
    this fleet; --from begins with what was learned on another one.

    Exit codes: 0 trained; 2 to mend: no recording or fleet, nothing in it that can be learned, the extra is missing.
    """

    def work(report: Report) -> int:
        if (recording is None) == (fleet is None):
            raise MendError("say what to train with: a recording, or --fleet FILE and --model NAME")
        _check_counts({"--model": model, "--objective": objective}, recording, "a recording says it itself")
        _check_counts({"--deployment": deployment}, fleet, "devices on paper have none")
        check_writable(out, "--out ")
        begun = load_policy(start) if start is not None else None
        if recording is not None:
            found = recorded_worlds(Recording(recording), deployment, hub=load(PlannerSettings).hub_facts)
        else:
            found = _on_paper(report, fleet, model, objective or "latency", library)
        trained = _trained(report, found, steps, seed, begun.actor if begun else None)
        header = _header(found.worlds[-1], trained, seed, begun)
        save_policy(out, header, trained.actor)
        _tell(report, out, header, trained)
        return DONE

    known = (
        RecordingError, NoWorldError, NoTrainingError, PlanningError, BadFleetError, BadWishError, NotInLibraryError,
        MosquittoMissingError,
    )  # fmt: skip
    conduct(json, work, known=known)


def _check_counts(given: dict[str, str | None], source: Path | None, why: str) -> None:
    """What would change nothing is refused: who gives it takes it for what was trained."""
    for option, value in given.items():
        if source is not None and value is not None:
            raise MendError(f"{option} {value} does not go with {source}: {why}; leave it out")


def _on_paper(report: Report, fleet: Path | None, model: str | None, objective: str, library: Path | None) -> Recorded:
    if fleet is None or model is None:
        raise MendError("--fleet FILE needs --model NAME, a model of the library (`stageline import NAME`)")
    # Measuring needs the worker's code and a broker, which recordings do without.
    from stageline.paper_fleet import paper_fleet  # noqa: PLC0415

    devices = load_fleet(fleet)
    where = Library(settings_of(library=library).library_dir)
    cards = where.cards()
    if model not in cards:
        raise NotInLibraryError(model, sorted(cards))
    wish = make_wish(model, objective=objective)
    check_learnable("ppo", wish.objective)
    with report.err.status(f"measuring {model} on one core"):
        facts = paper_fleet(cards[model], where, devices)
    return Recorded((World(cards[model], wish, facts, load(PlannerSettings).hub_facts),), {})


def _trained(report: Report, found: Recorded, steps: int, seed: int, start: Actor | None) -> Training:
    with _progress(report, steps) as tell:
        return train(found.worlds, steps=steps, seed=seed, centre=found.centre, start=start, progress=tell)


def _header(world: World, trained: Training, seed: int, begun: TrainedPolicy | None) -> PolicyHeader:
    return PolicyHeader(
        model=world.card.name,
        card_sha=world.card.sha256,
        objective=world.wish.objective,
        fleet=members(world.facts),
        features=FEATURES,
        plans=trained.actor.layers[-1][1].size,
        seed=seed,
        steps=trained.steps,
        trained_s=round(trained.seconds, 1),
        software=trained.software,
        transferred=begun.sha256 if begun else None,
    )


def _tell(report: Report, out: Path, header: PolicyHeader, trained: Training) -> None:
    first, last = trained.curve[0][1], trained.curve[-1][1]
    regret = f"{first:.1%} at first, {last:.1%} at last" if len(trained.curve) > 1 else f"{last:.1%}"
    report.out.print(
        f"{out}: a policy for {header.model} on {', '.join(one.device for one in header.fleet)}, trained with "
        f"{trained.steps} decisions in {trained.seconds:.0f} s; mean regret {regret}",
        markup=False,
    )
    report.out.print(
        f"On the hub, started again: STAGELINE_LEARNED={out} stageline hub; then stageline deploy {header.model} "
        "--policy ppo",
        markup=False,
    )
    curve = [{"steps": at, "regret": round(mean, 5)} for at, mean in trained.curve]
    report.write_json({"file": str(out), **header.model_dump(mode="json"), "curve": curve})


@contextmanager
def _progress(report: Report, steps: int) -> Iterator[Tell]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    # Into a pipe it would leave an empty line.
    with Progress(*columns, console=report.err, transient=True, disable=not report.err.is_terminal) as bar:
        task = bar.add_task("training", total=steps)
        yield lambda done, regret: bar.update(task, completed=done, description=f"training, mean regret {regret:.1%}")
