"""`python -m bench`: measure Stageline, its policies and its peers on emulated devices, and write one report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.context import Context
from bench.experiments import EXPERIMENTS, ONLY_BY_NAME
from bench.outcome_tables import outcome_tables
from bench.report import write_report
from bench.results import BadResultsError, Results, read_results
from bench.runner import FILE, Outcome, run_all
from bench.testbed.namespace import enter_private_network
from broker.embedded import MosquittoMissingError
from models.library import Library
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct

REPORT: Final = "report"
DEFAULT_FOLDER: Final = Path("build/bench")
_HELP: Final = (
    "Measure Stageline on emulated devices: against every policy of the literature and against other systems.\n\n"
    "  python -m bench                        [dim]# everything: a good hour[/dim]\n"
    "  python -m bench --quick                [dim]# all but rows, coarsely: under 6 minutes[/dim]\n"
    "  python -m bench limit peers            [dim]# two experiments; the other figures stay as they are[/dim]\n"
    "  python -m bench --resume               [dim]# what results.json has not yet[/dim]\n"
    "  python -m bench report                 [dim]# measure nothing; make the report again[/dim]"
)
_EPILOG: Final = (
    f"Experiments: {', '.join(EXPERIMENTS)}. As root each device gets a CPU quota, a memory limit and a network of its "
    "own; without, what cannot be emulated is said. results.json is rewritten after each experiment, so Ctrl-C costs "
    "only the one that runs. Exit codes: 0 all measured; 1 some experiment failed (its reason is in the report, its "
    "traceback in raw/); 2 something for you to mend. How it is measured: bench/METHODOLOGY.md"
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def bench(  # noqa: PLR0917  typer's options are a command's parameters
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXPERIMENT]...", help="Which experiments; all when none is named. Or: report."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer models, one round: to see that it works.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave out what results.json has already, quick figures of a full run excepted."),
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="For codec: measure with these pictures.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results and the report go.")] = (
        DEFAULT_FOLDER
    ),
    json: options.Json = None,
) -> None:
    """Run what is named."""

    def work(report: Report) -> int:
        remake = names == [REPORT]
        wanted = () if remake else _wanted(names or [], out / FILE, quick=quick, resume=resume)
        if pictures is not None and not pictures.is_dir():
            raise MendError(f"--pictures {pictures}: there is no such folder")
        if remake and not (out / FILE).exists():
            raise MendError(f"there is no {out / FILE} to report on: measure first, python -m bench --quick")
        if wanted:
            enter_private_network()
        folder = out.resolve()
        context = Context(quick, folder, Library(folder / "library"), pictures.resolve() if pictures else None)
        outcome = _measure(wanted, context, report.err) if wanted else Outcome(read_results(folder / FILE), {})
        page = write_report(outcome.results, folder)
        return _tell(report, outcome, page)

    conduct(json, work, known=(BadResultsError, MosquittoMissingError))


def _wanted(names: list[str], path: Path, *, quick: bool, resume: bool) -> tuple[str, ...]:
    """The experiments to run; when resuming, those that were not measured as thoroughly as is asked for now."""
    for name in names:
        if name not in EXPERIMENTS:
            raise MendError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}; or, alone, {REPORT}")
    known = read_results(path)["meta"]["experiments"] if resume else {}
    there = {name for name, about in known.items() if quick or about["mode"] == "full"}
    usual = [name for name in EXPERIMENTS if not (quick and name in ONLY_BY_NAME)]
    return tuple(name for name in EXPERIMENTS if name in (names or usual) and name not in there)


def _measure(names: tuple[str, ...], context: Context, console: Console) -> Outcome:
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console,
        transient=True,
    )  # fmt: skip
    with bar:
        whole = bar.add_task("all experiments", total=len(names))
        current = bar.add_task("", total=1.0)
        started: list[str] = []

        def begun(name: str) -> None:
            bar.update(whole, description=f"all experiments ({len(started) + 1} of {len(names)})")
            bar.update(whole, completed=len(started))
            bar.reset(current, description=name, total=1.0)
            started.append(name)

        def show(text: str, share: float) -> None:
            bar.update(current, description=f"{started[-1]}: {escape(text)}", completed=share)

        return run_all(names, replace(context, report=show), begun=begun)


def _tell(report: Report, outcome: Outcome, page: Path) -> int:
    for table in outcome_tables(outcome.results):
        report.out.print(table)
    report.out.print(f"report: {page}")
    for name, reason in outcome.failures.items():
        report.err.print(f"[red]{name} failed:[/red] {escape(reason)}")
    document: Results = outcome.results
    report.write_json(document)
    return SOME_FAILED if outcome.failures else DONE


if __name__ == "__main__":
    app()
