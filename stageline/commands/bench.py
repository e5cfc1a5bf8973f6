"""`stageline bench`: measure this installation. The benches are modules of `stageline.benches`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from broker.embedded import MosquittoMissingError
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct
from stageline.tables import new_table

NAMES: Final = ("hop", "overhead", "swap", "memory", "planner", "prediction", "codec")


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(NAMES)}, or all.")],
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="For codec: measure with these pictures.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few turns only: to see that it works, not for figures.")
    ] = False,
    json: options.Json = None,
) -> None:
    """Measure: a hop against bare TCP, what Stageline adds to a call, a change of plan, memory, planning, codecs.

    Each starts what it needs (a private broker, workers) and ends it. Timings depend on what else runs: close what you
    can. `docs/performance.md` explains each figure.

    Exit codes: 0 measured; 2 to mend: no such bench, mosquitto or PyTorch is missing.
    """

    def work(report: Report) -> int:
        names = NAMES if name == "all" else (name,)
        for one in names:
            if one not in NAMES:
                raise MendError(f"no bench {one!r}: there are {', '.join(NAMES)}, and all")
        results: dict[str, Any] = {}
        with _progress(report.err) as bar:
            for one in names:
                task = bar.add_task(one, total=1.0)

                def show(what: str, share: float, one: str = one, task: Any = task) -> None:
                    bar.update(task, description=f"{one}: {what}", completed=share)

                results[one] = _run(one, pictures, show, quick=quick)
                bar.remove_task(task)
        for one, result in results.items():
            report.out.print(table(one, result))
        report.write_json(results if name == "all" else results[name])
        return DONE

    conduct(json, work, known=(MosquittoMissingError,))


def _run(name: str, pictures: Path | None, show: Callable[[str, float], None], *, quick: bool) -> Any:
    run = import_module(f"stageline.benches.{name}").run
    return run(show, quick=quick, **({"pictures": pictures} if name == "codec" else {}))


def table(name: str, result: Any) -> Table:
    """A result (a dict, or a list of them with the same keys) as a table."""
    rows = result if isinstance(result, list) else [result]
    shown = new_table(name, *(f">{key}" for key in (rows[0] if rows else ())))
    for row in rows:
        shown.add_row(*(_text(value) for value in row.values()))
    return shown


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console,
        transient=True,
    )  # fmt: skip
