"""`python -m bench.learning`: learning policies where the cost model is wrong, and where it is right."""

from __future__ import annotations

import json as to_json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.context import DEFAULT_LIBRARY, Context
from bench.learning.live import SLOWER, live
from bench.learning.live_figures import draw_live, live_data, live_sentences, live_table
from bench.learning.report import draw_sections, sections_table, sentences
from bench.learning.scene import fleet_world
from bench.learning.sections import measured
from bench.learning.speed import decision_times
from bench.learning.transfer import trained_on, transferred
from bench.line import LINE_FAILURES
from bench.machine import machine, versions
from bench.testbed import NotShapedError, enter_private_network
from broker.embedded import MosquittoMissingError
from models.library import Library
from services.planner.learning.learner import Proposer
from services.planner.learning.training import NoTrainingError
from services.planner.learning.ucb import Ucb
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct
from stageline.deploying import NoPlannerError, SilentPlannerError
from stageline.emulation.house import ServiceEndedError
from stageline.tables import new_table

DEFAULT_FOLDER: Final = Path("build/learning")
LIVE_S: Final = 200.0
QUICK_LIVE_S: Final = 60.0
_HELP: Final = (
    "Measure what learning is worth where the cost model is wrong, in ways that the learner knows and in others, what "
    "it costs where nothing is wrong, how long a decision takes, and what training and transfer take. All of that in "
    "made-up worlds; --live is a line of real services, whose link is shaped after it was measured.\n\n"
    "  python -m bench.learning              [dim]# some minutes on one core[/dim]\n"
    "  python -m bench.learning --quick      [dim]# about one[/dim]\n"
    "  sudo .venv/bin/python -m bench.learning --live   [dim]# about five minutes; wants Linux and root[/dim]"
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
def learning(  # noqa: PLR0917  typer's options are a command's parameters
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer worlds, steps and rounds: to see that it works.")
    ] = False,
    on_a_line: Annotated[bool, typer.Option("--live", help="A real line in place of made-up worlds.")] = False,
    slower: Annotated[
        float, typer.Option("--slower", min=1.5, max=16, help="With --live: so many times slower the link becomes.")
    ] = SLOWER,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go.")] = DEFAULT_FOLDER,
    library: Annotated[Path, typer.Option("--library", metavar="DIR", help="With --live: where models are kept.")] = (
        DEFAULT_LIBRARY
    ),
    json: options.Json = None,
) -> None:
    """Measure all of it."""

    def work(report: Report) -> int:
        if on_a_line:
            enter_private_network()
            try:
                return _live(report, out.resolve(), library, quick=quick, slower=slower)
            except (*LINE_FAILURES, ServiceEndedError, SilentPlannerError, NoPlannerError) as error:
                report.err.print(f"failed: {error}", markup=False)
                return SOME_FAILED
            except NotShapedError as error:
                raise MendError(str(error)) from error
        found = _measured(report, quick=quick)
        _write(out / "results.json", found)
        _tell(report, found)
        draw_sections(out / "learning.png", found)
        report.out.print(f"picture: {out / 'learning.png'}")
        report.write_json(found)
        return DONE

    conduct(json, work, known=(NoTrainingError, MosquittoMissingError))


def _measured(report: Report, *, quick: bool) -> dict[str, Any]:
    count, noises, steps, seeds = (4, 1, 4_000, (0,)) if quick else (12, 3, 24_000, (0, 1))
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=report.err, transient=True, disable=not report.err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        # Trained on fleets that none of those is: what the policy knows is how to find out.
        actor, training = trained_on([fleet_world(seed) for seed in range(500, 508)], steps=steps, seed=0, tell=tell)
        proposers: dict[str, Proposer] = {"bandit": Ucb(), "ppo": actor}
        return {
            "quick": quick,
            **measured(proposers, count=count, noises=noises, tell=tell),
            "training": training,
            "transfer": transferred(steps=steps // 2, seeds=seeds, tell=tell),
            "decision": decision_times(proposers, rounds=3 if quick else 15),
        }


def _tell(report: Report, found: dict[str, Any]) -> None:
    report.out.print(sections_table(found))
    for sentence in sentences():
        report.out.print(sentence, soft_wrap=True)
    training, transfer = found["training"], found["transfer"]
    report.out.print(
        f"Training: {training['steps']} decisions in {training['seconds']:.0f} s, {training['cpu_s']:.0f} s of "
        f"processor time ({training['cpu_ms_per_step']:.2f} ms each), {training['software']}"
    )
    for name in ("from_scratch", "transferred"):
        curve = transfer[name]
        report.out.print(
            f"{name}: mean regret {curve[0][1]:.1%} at {curve[0][0]} decisions, {curve[-1][1]:.1%} at last"
        )
    table = new_table("A decision, ms", ">devices", "policy", ">plans", ">problem", ">exact", ">gather", ">decide")
    for row in found["decision"]:
        table.add_row(
            str(row["devices"]), row["policy"], str(row["plans"]),
            *(f"{row[name]:.1f}" for name in ("problem_ms", "exact_ms", "gather_ms", "decide_ms")),
        )  # fmt: skip
    report.out.print(table)


def _live(report: Report, folder: Path, library: Path, *, quick: bool, slower: float) -> int:
    """The run on a real line."""
    context = Context(quick, folder, Library(library.resolve()))
    seconds = QUICK_LIVE_S if quick else LIVE_S
    before = os.getloadavg()[0]
    with report.err.status("") as status:
        run = live(context, seconds=seconds, slower=slower, tell=lambda text: status.update(escape(text)))
    found = {**live_data(run), "quick": quick, "slower": slower, "machine": machine(), "versions": versions()}
    found["machine_load"] = [round(before, 2), round(os.getloadavg()[0], 2)]
    _write(folder / "live.json", found)
    report.out.print(live_table(found))
    for sentence in live_sentences(found):
        report.out.print(escape(sentence), soft_wrap=True)
    draw_live(folder / "live.png", found)
    report.out.print(f"picture: {folder / 'live.png'}")
    report.write_json(found)
    return DONE


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
