"""`python -m bench.chaos`: break what real processes rely on, while requests run, and say what survived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.chaos.outcome import Outcome
from bench.chaos.runner import Terms, run_all
from bench.chaos.scenario import Scenario
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.table import outcome_table, remarks
from bench.context import DEFAULT_LIBRARY
from bench.machine import commit, machine
from bench.testbed.namespace import enter_private_network
from broker.embedded import MosquittoMissingError
from models.library import Library
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct

DEFAULT_FOLDER: Final = Path("build/chaos")
_HELP: Final = (
    "Kill, stop, cut off and starve real processes while requests run, and compare every answer.\n\n"
    "  python -m bench.chaos                                   [dim]# everything[/dim]\n"
    "  python -m bench.chaos --only network-cut                [dim]# one scenario; may be repeated[/dim]\n"
    "  python -m bench.chaos --quick --json build/chaos.json   [dim]# a small model and small loads[/dim]"
)
_EPILOG: Final = (
    f"Scenarios: {', '.join(SCENARIOS)}. As root each device gets a CPU quota, a memory limit and a network of its "
    "own; without, what cannot be played is left out and said. Exit codes: 0 everything held; 1 something did not (its "
    "logs are in the folder of pictures); 2 something for you to mend."
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def chaos(
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This scenario. Repeatable.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small model and small loads; scenarios share devices. To see it work.")
    ] = False,
    pictures_out: Annotated[
        Path, typer.Option("--pictures-out", metavar="DIR", help="Where a timeline of each scenario goes, as PNG.")
    ] = DEFAULT_FOLDER,
    library: Annotated[Path, typer.Option("--library", metavar="DIR", help="Imported models; kept between runs.")] = (
        DEFAULT_LIBRARY
    ),
    json: options.Json = None,
) -> None:
    """Play what is named."""

    def work(report: Report) -> int:
        scenarios = _wanted(only or [])
        enter_private_network()
        terms = Terms(Library(library.resolve()), pictures_out.resolve(), quick)
        outcomes = _play(scenarios, terms, report)
        report.out.print(outcome_table(outcomes))
        for line in remarks(outcomes):
            report.out.print(line)
        report.out.print(f"timelines: {pictures_out}")
        report.write_json(_document(outcomes, quick=quick))
        return SOME_FAILED if any(one.held is False for one in outcomes) else DONE

    conduct(json, work, known=(MosquittoMissingError,))


def _wanted(names: list[str]) -> list[Scenario]:
    for name in names:
        if name not in SCENARIOS:
            raise MendError(f"no scenario {name!r}: there are {', '.join(SCENARIOS)}")
    return [scenario for name, scenario in SCENARIOS.items() if not names or name in names]


def _play(scenarios: list[Scenario], terms: Terms, report: Report) -> list[Outcome]:
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=report.err, transient=True,
    )  # fmt: skip
    outcomes: list[Outcome] = []
    with bar:
        whole = bar.add_task("", total=len(scenarios))
        name = ""

        def begun(scenario: str) -> None:
            nonlocal name
            name = scenario
            bar.update(whole, description=name)

        def tell(text: str) -> None:
            bar.update(whole, description=f"{name}: {escape(text)}")

        for outcome in run_all(scenarios, replace(terms, begun=begun, tell=tell)):
            outcomes.append(outcome)
            bar.update(whole, completed=len(outcomes))
            _draw(outcome, terms.folder)
    return outcomes


def _draw(outcome: Outcome, folder: Path) -> None:
    # Drawn between scenarios, and its library loaded only then: neither should take time from what is measured.
    from bench.chaos.timeline import draw_timeline  # noqa: PLC0415

    draw_timeline(outcome, folder / f"{outcome.name}.png")


def _document(outcomes: list[Outcome], *, quick: bool) -> dict[str, Any]:
    about = {"machine": machine(), "commit": commit(), "mode": "quick" if quick else "full"}
    return {"meta": about, "scenarios": [outcome.as_dict() for outcome in outcomes]}


if __name__ == "__main__":
    app()
