"""`stageline plan compare`: what every planning policy would make of the same model and fleet."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from broker.embedded import MosquittoMissingError
from models.library import Library, NotInLibraryError
from schemas.deployment import Deployment
from schemas.model import ModelCard
from services.planner.cost import Problem, problem_from
from services.planner.errors import PlanningError
from services.planner.facts import DeviceFacts
from services.planner.policies import POLICIES, UnknownPolicyError, find_policy
from services.planner.policy import Policy
from services.planner.rows_known import RowsKnown, rows_of
from services.planner.settings import PlannerSettings
from services.planner.side_by_side import shares_rows
from services.planner.wording import left_out_text
from services.settings import load
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct, open_bus, settings_of
from stageline.comparison_table import comparison_document, show_comparison
from stageline.deploying import NoSuchModelError
from stageline.emulation.fleet_file import BadFleetError, FleetFile, load_fleet
from stageline.fleet_now import ground_now
from stageline.policy_comparison import compare as compare_policies
from stageline.wishes import BadWishError, make_wish, strangers

Tell = Callable[[str, float], None]


def compare(
    model: Annotated[str, typer.Argument(help="A model; with --fleet also one that was never imported.")],
    fleet: Annotated[
        Path | None, typer.Option("--fleet", metavar="FILE", help="Plan for these devices; else for those that joined.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", metavar="NAME", help="Compare only this one. Repeatable.")
    ] = None,
    objective: options.Objective = "latency",
    latency_weight: options.LatencyWeight = 0.5,
    latency_bound_ms: options.LatencyBound = None,
    pin: options.Pins = None,
    exclude: options.Exclude = None,
    memory_limit: options.MemoryLimits = None,
    codec: options.Codec = "fp32",
    library: options.Library = None,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Plan MODEL by every policy there is, ours and the literature's, and lay the predictions side by side.

    stageline plan compare mobilenet_v2                                        (the fleet that has joined)

    stageline plan compare mobilenet_v2 --fleet bench/fleets/hml.toml -o throughput

    stageline plan compare vgg16 --fleet mine.toml --memory-limit pi4=200 --policy exact --policy even-split

    Nothing is deployed. Without --fleet, what devices measured counts (`stageline deploy MODEL` has them measure it).
    With it, one thread of this machine measures the model's blocks for a few seconds, and each device of the file gets
    its share of that; a model that is not in the library is imported for the moment, with random weights.
    `stageline plan policies` says what each policy is and where it is from.

    Exit codes: 0 some policy has a plan; 1 none has (the reasons are shown); 2 to mend: no such model or policy, a
    fleet file, no broker.
    """

    def work(report: Report) -> int | Coroutine[Any, Any, int]:
        chosen = _policies(policy)
        # A model that is imported for the moment gets its name then.
        name = model if fleet is None else "model"
        wish = make_wish(
            name, pins=pin or (), memory_limits=memory_limit or (), exclude=exclude or (), objective=objective,
            latency_weight=latency_weight, latency_bound_ms=latency_bound_ms, codec=codec,
        )  # fmt: skip
        if fleet is None:
            return _live(report, wish, chosen, broker=broker, root=root)
        devices = load_fleet(fleet)
        where = Library(settings_of(library=library).library_dir)
        return _on_paper(report, model, wish, chosen, devices, where)

    conduct(json, work, known=(BadWishError, NoSuchModelError, BadFleetError, MosquittoMissingError))


def _policies(names: list[str] | None) -> list[Policy]:
    try:
        return [find_policy(name) for name in dict.fromkeys(names)] if names else list(POLICIES)
    except UnknownPolicyError as error:
        raise MendError(f"--policy: {error}") from None


async def _live(
    report: Report, wish: Deployment, policies: list[Policy], *, broker: str | None, root: str | None
) -> int:
    async with open_bus(settings_of(broker=broker, root=root), "plan-compare") as bus:
        try:
            ground = await ground_now(bus, wish, lambda line: _warn(report, line))
        except PlanningError as error:
            return _no_plan(report, wish, str(error))
    if ground.left_out:
        report.err.print(left_out_text(ground.left_out), markup=False)
    return await asyncio.to_thread(
        _compared, report, wish, policies, lambda: _problem(ground.card, wish, ground.facts, ground.rows)
    )


def _on_paper(
    report: Report, model: str, wish: Deployment, policies: list[Policy], fleet: FleetFile, library: Library
) -> int:
    # Measuring needs the worker's code and a broker, which the live comparison does without.
    from stageline.paper_fleet import paper_fleet  # noqa: PLC0415

    for line in strangers(wish, [device.name for device in fleet.devices]):
        _warn(report, line)
    with _progress(report) as tell, _model(model, library, report, tell) as (card, where):
        wish = wish.model_copy(update={"model": card.name, "deployment": card.name})
        facts = paper_fleet(card, where, fleet, progress=tell)
        rows = rows_of(card, where.blobs.read(card.graph.sha256)) if shares_rows(wish) else None
    return _compared(report, wish, policies, lambda: _problem(card, wish, facts, rows), fleet=fleet.name)


def _problem(card: ModelCard, wish: Deployment, facts: Sequence[DeviceFacts], rows: RowsKnown | None) -> Problem:
    # The planner's own settings, as far as this environment has them: the same links for hub and submitters.
    return problem_from(card, wish, facts, load(PlannerSettings).hub_facts, rows=rows)


def _compared(
    report: Report, wish: Deployment, policies: list[Policy], make: Callable[[], Problem], *, fleet: str = ""
) -> int:
    try:
        problem = make()
    except PlanningError as error:
        return _no_plan(report, wish, str(error))
    rows = compare_policies(problem, policies)
    show_comparison(report.out, problem, rows)
    report.write_json({"fleet": fleet, **comparison_document(problem, rows)})
    return DONE if any(row.choice for row in rows) else SOME_FAILED


def _no_plan(report: Report, wish: Deployment, why: str) -> int:
    report.err.print(f"no plan: {why}", markup=False)
    report.write_json({"model": wish.model, "error": why})
    return SOME_FAILED


def _warn(report: Report, line: str) -> None:
    report.err.print(f"warning: {line}", markup=False)


@contextmanager
def _model(model: str, library: Library, report: Report, tell: Tell) -> Iterator[tuple[ModelCard, Library]]:
    """The model's card and the library that holds it: the local one, or one for as long as this lasts."""
    cards = library.cards()
    if model in cards:
        yield cards[model], library
        return
    missing = NotInLibraryError(model, sorted(cards))
    with tempfile.TemporaryDirectory(prefix="stageline-compare-") as folder:
        passing = Library(Path(folder))
        try:
            from models.importer import import_model  # noqa: PLC0415 - needed for models that are not there only

            card = import_model(model, passing, weights="random", progress=tell)
        except (ImportError, ValueError, LookupError, OSError, RuntimeError) as error:
            if not (isinstance(error, (ImportError, OSError)) or type(error).__module__.startswith("models.")):
                raise
            raise MendError(f"{missing}; and it cannot be imported for the moment either: {error}") from error
        report.err.print(
            f"{model} is not in {library.root}: imported for this comparison only, with random weights (they change no "
            "cost)"
        )
        yield card, passing


@contextmanager
def _progress(report: Report) -> Iterator[Tell]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    # Into a pipe it would leave an empty line.
    with Progress(*columns, console=report.err, transient=True, disable=not report.err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
