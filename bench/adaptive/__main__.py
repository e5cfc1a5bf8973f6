"""`python -m bench.adaptive`: the same minutes of load and link changes, with plans that follow and plans that stay."""

from __future__ import annotations

import json as to_json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from bench.adaptive.contenders import CONTENDERS
from bench.adaptive.loads import LOADS
from bench.adaptive.measure import FLEET, Run, measure
from bench.adaptive.picture import draw
from bench.adaptive.report import curves, document, sentence, table
from bench.adaptive.trace import as_data, make_trace
from bench.context import DEFAULT_LIBRARY, Context
from bench.line import LINE_FAILURES
from bench.testbed.namespace import enter_private_network
from broker.embedded import MosquittoMissingError
from models.library import Library
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct
from stageline.deploying import NoPlannerError, SilentPlannerError
from stageline.emulation.house import ServiceEndedError

FULL_S: Final = 300.0
QUICK_S: Final = 60.0
DEFAULT_FOLDER: Final = Path("build/adaptive")
_HELP: Final = (
    "Replay the same trace of load, quota and link changes to plans that follow it and to plans that stay as they were "
    "made.\n\n"
    "  python -m bench.adaptive                   [dim]# five minutes for each of three, twice: 35 minutes[/dim]\n"
    "  python -m bench.adaptive --quick           [dim]# one minute each: about 9[/dim]\n"
    "  python -m bench.adaptive --load paced      [dim]# one of the two loads[/dim]\n"
    "  python -m bench.adaptive --trace           [dim]# what will change, as JSON; nothing is measured[/dim]"
)
_EPILOG: Final = (
    "As root each device gets a CPU quota and a network of its own; without, links do not change and that is said. "
    "Writes results.json and adaptive.png. Exit codes: 0 measured, whatever came of it; 1 a run failed; 2 something "
    "for you to mend."
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def adaptive(  # noqa: PLR0917  typer's options are a command's parameters
    quick: Annotated[bool, typer.Option("--quick", help="One minute each: to see that it works.")] = False,
    load: Annotated[str | None, typer.Option("--load", metavar="NAME", help=f"One of {', '.join(LOADS)}.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which of the possible traces.")] = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Print the trace and end.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go.")] = DEFAULT_FOLDER,
    library: Annotated[Path, typer.Option("--library", metavar="DIR", help="Where models are kept between runs.")] = (
        DEFAULT_LIBRARY
    ),
    json: options.Json = None,
) -> None:
    """Measure every contender under every load."""

    def work(report: Report) -> int:
        seconds = QUICK_S if quick else FULL_S
        context = Context(quick, out.resolve(), Library(library.resolve()))
        if trace:
            devices = [device.name for device in context.fleet(FLEET).devices]
            report.out.print_json(to_json.dumps(as_data(make_trace(devices, seconds, seed))))
            return DONE
        if load is not None and load not in LOADS:
            raise MendError(f"--load {load}: there are {', '.join(LOADS)}")
        enter_private_network()
        runs = _measure(context, report.err, [load] if load else list(LOADS), seconds, seed)
        return _tell(report, context, runs, seed, expected=len(CONTENDERS) * (1 if load else len(LOADS)))

    conduct(json, work, known=(MosquittoMissingError,))


def _measure(context: Context, console: Console, loads: list[str], seconds: float, seed: int) -> list[Run]:
    runs: list[Run] = []
    with console.status("") as status:
        for name in LOADS:
            for contender in CONTENDERS if name in loads else ():

                def tell(text: str, what: str = f"{name}, {contender.name}") -> None:
                    status.update(f"{escape(what)}: {escape(text)}")

                try:
                    runs.append(measure(context, contender, name, seconds=seconds, seed=seed, tell=tell))
                except (*LINE_FAILURES, ServiceEndedError, SilentPlannerError, NoPlannerError) as error:
                    console.print(f"[red]{contender.name}, {name}, failed:[/red] {escape(str(error))}")
    return runs


def _tell(report: Report, context: Context, runs: list[Run], seed: int, *, expected: int) -> int:
    found = document(runs, seed=seed, quick=context.quick)
    context.folder.mkdir(parents=True, exist_ok=True)
    (context.folder / "results.json").write_text(to_json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, part in found["loads"].items():
        report.out.print(table(name, part))
        report.out.print(escape(sentence(name, part["verdict"])), soft_wrap=True)
    if runs:
        picture = context.folder / "adaptive.png"
        draw(picture, curves(runs), runs[0].trace, runs[0].seconds)
        report.out.print(f"\npicture: {picture}")
        for clause in runs[0].unshaped:
            report.out.print(f"[yellow]Not as stated:[/yellow] {escape(clause)}.")
    report.write_json(found)
    return DONE if len(runs) == expected else SOME_FAILED


if __name__ == "__main__":
    app()
