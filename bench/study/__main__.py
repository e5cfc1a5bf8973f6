"""`python -m bench.study`: the paper's experiments again, every method beside the best decision there is."""

from __future__ import annotations

import json as to_json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench.study.assumptions import VARIANTS
from bench.study.devices import TABLES
from bench.study.methods import LEARNED, Table
from bench.study.sensitivity import Sensitivity, sensitivity
from bench.study.study import Learned, Studied, Tell, Terms, Train, study
from bench.study.summary import document, faults, gap_table, sensitivity_table, statement_table
from bench.study.sweep import BANDWIDTHS_MBPS, FEW_BANDWIDTHS_MBPS, FEW_WEIGHTS, WEIGHTS, rows
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct

if TYPE_CHECKING:
    from bench.study.learning.training import Lessons

DEFAULT_FOLDER: Final = Path("build/study")
_HELP: Final = (
    "Several devices with networks that may exit early share one edge server: who computes how much?\n\n"
    "  python -m bench.study                    [dim]# everything: about five minutes, most of it training[/dim]\n"
    "  python -m bench.study --quick            [dim]# few points, little training: under a minute[/dim]\n"
    "  python -m bench.study --without-learning [dim]# the exact planner and the baselines only: seconds[/dim]"
)
_EPILOG: Final = (
    "Writes results.json (a row for each method at each point), summary.json, figures and the trained policies. Exit "
    "codes: 0 done; 1 a method was cheaper than the exact planner, so something is wrong; 2 something for you to mend."
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few points, little training: to see that it works.")] = False,
    without_learning: Annotated[bool, typer.Option("--without-learning", help="Train nothing.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that chance is part of.")] = 0,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go.")] = DEFAULT_FOLDER,
    json: options.Json = None,
) -> None:
    """Study both tables."""

    def work(report: Report) -> int:
        terms = Terms(
            FEW_BANDWIDTHS_MBPS if quick else BANDWIDTHS_MBPS, FEW_WEIGHTS if quick else WEIGHTS,
            () if without_learning else LEARNED, seed,
        )  # fmt: skip
        train = _no_training if without_learning else _trainer(out, seed, quick=quick)
        studied, checked = _study(terms, train, report.err)
        found = document(studied, checked, seed=seed, quick=quick)
        _write(out, studied, found)
        return _tell(report, out, studied, checked, found)

    conduct(json, work)


def _trainer(out: Path, seed: int, *, quick: bool) -> Train:
    """What trains; its libraries are loaded only here, since they are large and optional."""
    try:
        import torch  # noqa: PLC0415

        from bench.study.learning import training, ways  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MendError(
            f"training needs {error.name}: pip install 'stageline[learn]', or leave it out with --without-learning"
        ) from error
    torch.set_num_threads(1)  # for so small a network more of them only wait for each other
    by_method: Mapping[str, Lessons] = training.QUICK if quick else training.FULL
    by_name: dict[str, ways.Way] = {way.name: way for way in (ways.PaperWay(), ways.SplitsWay())}

    def train(table: Table, method: str, tell: Tell) -> Learned:
        lessons = by_method[method]

        def told(done: int) -> None:
            tell(f"{table.name}: training {method}", done, lessons.decisions)

        policy = training.train(table.problem, by_name[method], lessons, seed, told)
        policy.save(out / f"{method}-{table.name}.zip")
        return Learned(policy.decide, policy.trained_s, policy.trained_cpu_s, lessons.decisions)

    return train


def _no_training(table: Table, method: str, tell: Tell) -> Learned:
    raise AssertionError(f"nothing was to be trained, not {method} for {table.name} ({tell})")


def _study(terms: Terms, train: Train, console: Console) -> tuple[list[Studied], list[Sensitivity]]:
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=min(done, of), total=of)

        studied = [study(name, terms, train, tell) for name in TABLES]
        checks = len(VARIANTS) * len(TABLES)
        checked = sensitivity(terms.seed, lambda done: tell("other assumptions", done, checks))
    return studied, checked


def _write(out: Path, studied: list[Studied], found: dict[str, Any]) -> None:
    # Loaded only when there is something to draw: it takes as long as the rest of a run without learning.
    from bench.study import pictures  # noqa: PLC0415

    out.mkdir(parents=True, exist_ok=True)
    every = [row for one in studied for row in rows(one.table.name, one.answers)]
    (out / "results.json").write_text(to_json.dumps(every, indent=1) + "\n", encoding="utf-8")
    (out / "summary.json").write_text(to_json.dumps(found, indent=2) + "\n", encoding="utf-8")
    tables = {one.table.name: one.answers for one in studied}
    for name, answers in tables.items():
        pictures.save(pictures.over_bandwidth(answers), out / f"{name}.svg")
    pictures.save(pictures.over_exact(tables), out / "gaps.svg")
    pictures.save(pictures.over_weights(tables), out / "weights.svg")


def _tell(report: Report, out: Path, studied: list[Studied], checked: list[Sensitivity], found: dict[str, Any]) -> int:
    for one in studied:
        report.out.print(gap_table(one))
        for name, learned in one.learned.items():
            took = f"{learned.trained_s:.0f} s, {learned.trained_cpu_s:.0f} s of one core"
            report.out.print(f"{name}: trained on {learned.decisions} decisions in {took}")
    report.out.print(statement_table(studied))
    report.out.print(sensitivity_table(checked))
    report.out.print(f"\nresults, figures and policies: {out}")
    wrong = faults(studied, checked)
    for fault in wrong:
        report.err.print(f"[red]cheaper than the exact planner:[/red] {fault}")
    report.write_json(found)
    return SOME_FAILED if wrong else DONE


if __name__ == "__main__":
    app()
