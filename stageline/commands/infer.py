"""`stageline infer`: pictures, folders and arrays through a deployment, one result each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from broker.bus import Bus
from models.pictures import is_picture
from schemas.codec import Array
from schemas.topics import DEPLOYMENT, PLAN_CURRENT
from stageline.client import Client
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct, open_bus, settings_of
from stageline.inputs import is_array_file
from stageline.receipts import Receipt, RequestFailedError, Result
from stageline.tables import new_table

_SHORT_PATH: Final = 24


def infer(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, .npy or .npz arrays, and folders of them.")],
    deployment: options.Deployment = None,
    deadline_s: Annotated[float, typer.Option("--deadline", min=0.01, help="Seconds that each may take.")] = 30.0,
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to show for each.")] = 1,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Show where each was computed, and at what price.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Also keep each one's raw outputs there, as .npz.")
    ] = None,
    cache: Annotated[
        int, typer.Option("--cache", metavar="N", min=0, help="Keep N answers: an input seen before is not sent again.")
    ] = 0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Run pictures (or tensors) through a served model: label, probability, latency and route of each.

    stageline infer cat.jpg holiday/ --top 3 --receipts

    stageline infer --deployment mine tensors/*.npy --save outputs/ --json -

    A file that cannot be read or is not answered fails alone; the rest go on. With --cache, what came from the cache
    is counted apart, and latencies are of the others.

    Exit codes: 0 all were answered; 1 some were not (each says why); 2 to mend: no such deployment or file, no broker.
    """

    async def work(report: Report) -> int:
        settings = settings_of(broker=broker, root=root)
        files = find_files(paths)
        async with open_bus(settings, "infer") as bus:
            name = await existing(bus, deployment) if deployment else await the_only_deployment(bus)
        client = Client(
            settings.broker, deployment=name, root=settings.root, cache=cache,
            connect_timeout_s=settings.connect_timeout_s or 5.0,
        )  # fmt: skip
        outcome = _Outcome(name, top=top, save=save)
        async with client:
            try:
                await client.ready(deadline_s)
            except RequestFailedError as error:
                raise MendError(error.detail) from error
            started = perf_counter()
            with _bar(report) as bar:
                task = bar.add_task("inferring", total=len(files))
                async for result in client.submit_many(files, deadline_s=deadline_s):
                    await outcome.add(files[result.index], result)
                    bar.advance(task)
            outcome.wall_s = perf_counter() - started
        outcome.audit = client.audit.as_dict()
        outcome.show(report, receipts=receipts)
        report.write_json(outcome.document())
        return SOME_FAILED if outcome.failures else DONE

    conduct(json, work)


def find_files(paths: list[Path]) -> list[Path]:
    """The files that are named, and in folders what looks like a picture or an array, in order of name.

    Raises:
        MendError: nothing there, or not what was named.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise MendError(f"no such file or folder: {', '.join(map(str, missing))}")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.is_file() and (is_picture(one) or is_array_file(one)))
        else:
            found.append(path)
    if not found:
        raise MendError(f"no pictures or arrays in {', '.join(map(str, paths))}")
    return found


def shortened(files: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that these files are all below, and their paths from there; no folder where they are short anyway."""
    paths = [Path(file) for file in files]
    if not files or max(map(len, files)) <= _SHORT_PATH:
        return "", list(files)
    folder = next((one for one in paths[0].parents if all(path.is_relative_to(one) for path in paths)), Path())
    if folder in (Path(), Path(folder.anchor)):
        return "", list(files)
    return str(folder), [str(path.relative_to(folder)) for path in paths]


async def existing(bus: Bus, deployment: str) -> str:
    """`deployment`, which is served, or was asked for and may be served soon.

    Raises:
        MendError: nobody asked for it.
    """
    wanted = {one.parameters["deployment"] for one in await bus.snapshot(DEPLOYMENT)}
    wanted |= {one.parameters["deployment"] for one in await bus.snapshot(PLAN_CURRENT)}
    if deployment not in wanted:
        have = f"there are {', '.join(sorted(wanted))}" if wanted else "there is no deployment"
        raise MendError(f"nothing is deployed as {deployment!r}: {have}. Deploy a model first: stageline deploy MODEL")
    return deployment


async def the_only_deployment(bus: Bus) -> str:
    """The one deployment that is served.

    Raises:
        MendError: there is none, or there are several.
    """
    names = sorted(one.parameters["deployment"] for one in await bus.snapshot(PLAN_CURRENT))
    if not names:
        raise MendError("nothing is deployed. Deploy a model first: stageline deploy MODEL")
    if len(names) > 1:
        raise MendError(f"there are several deployments: say which with --deployment ({', '.join(names)})")
    return names[0]


@dataclass(slots=True)
class _Outcome:
    deployment: str
    top: int
    save: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    receipts: list[Receipt | None] = field(default_factory=list)
    """Of each row; None where it failed. Answers are not kept: a bulk run has more of them than memory."""
    failures: int = 0
    wall_s: float = 0.0
    audit: dict[str, int] = field(default_factory=dict)

    async def add(self, path: Path, result: Result) -> None:
        row: dict[str, Any] = {"file": str(path)}
        if result.answer is None:
            self.failures += 1
            row["error"] = str(result.error)
        else:
            if result.answer.names_classes:
                guesses = result.answer.top(self.top)
                row |= {
                    "label": guesses[0].label,
                    "probability": guesses[0].probability,
                    "top": [{"label": one.label, "probability": one.probability} for one in guesses],
                }
            row |= {
                "outputs": {
                    name: f"{one.dtype}[{'x'.join(map(str, one.shape))}]" for name, one in result.answer.outputs.items()
                },
                "latency_ms": result.answer.receipt.line_ms,
                "cached": bool(result.answer.receipt.cached_from),
                "exit": result.answer.receipt.exit,
                "receipt": result.answer.receipt.as_dict(),
            }
            if self.save is not None:
                target = self.save / f"{result.index:05d}-{path.stem}.npz"
                await asyncio.to_thread(_save, target, result.answer.outputs)
                row["saved"] = str(target)
        self.rows.append(row)
        self.receipts.append(result.answer.receipt if result.answer else None)

    def show(self, report: Report, *, receipts: bool) -> None:
        folder, names = shortened([row["file"] for row in self.rows])
        if folder:
            report.out.print(f"in {escape(folder)}", soft_wrap=True)
        table = new_table(None, "~file", "~label", ">probability", ">ms on the line", "~route")
        lines = list(zip(names, self.rows, self.receipts, strict=True))
        for name, row, receipt in lines:
            if receipt is None:
                continue
            outputs = [f"{output} {kind}" for output, kind in row["outputs"].items()]
            table.add_row(
                escape(name),
                "\n".join(
                    escape(one) for one in ([guess["label"] for guess in row["top"]] if "top" in row else outputs)
                ),
                "\n".join(f"{one['probability']:.3f}" for one in row.get("top", ())),
                "" if receipt.cached_from else f"{receipt.line_ms:.1f}",
                "from the cache" if receipt.cached_from else escape(_way(receipt)),
            )
        if table.row_count:
            report.out.print(table)
        for name, row, receipt in lines:
            if receipt is None:
                why = row["error"].replace(row["file"], name)
                report.out.print(f"[red]failed:[/red] {escape(why if name in why else f'{name}: {why}')}")
            elif receipts:
                report.out.print(f"\n[bold]{escape(name)}[/bold]")
                report.out.print(receipt.table())
        summary = self.summary()
        cached = f" ({summary['cached']} of them from the cache)" if summary["cached"] else ""
        text = f"{summary['answered']} answered{cached}, {summary['failed']} failed in {self.wall_s:.2f} s"
        if summary["answered"]:
            text += (
                f": {summary['throughput_rps']:.1f} per second, p50 {summary['latency_ms']['p50']:.1f} ms, "
                f"p95 {summary['latency_ms']['p95']:.1f} ms on the line"
            )
        for name, count in summary["exits"].items():
            text += f"; {count} left at {name}"
        report.out.print(text)

    def summary(self) -> dict[str, Any]:
        answers = [row for row in self.rows if "latency_ms" in row]
        p50, p95 = percentiles(sorted(row["latency_ms"] for row in answers if not row["cached"]))
        answered = len(answers)
        return {
            "answered": answered,
            "cached": sum(row["cached"] for row in answers),
            "failed": self.failures,
            "exits": dict(sorted(Counter(row["exit"] for row in answers if row["exit"]).items())),
            "latency_ms": {"p50": p50, "p95": p95},
            "throughput_rps": answered / self.wall_s if self.wall_s else 0.0,
            "wall_s": self.wall_s,
        }

    def document(self) -> dict[str, Any]:
        return {"deployment": self.deployment, "results": self.rows, "summary": self.summary(), "audit": self.audit}


def _way(receipt: Receipt) -> str:
    return f"{receipt.route}, left at {receipt.exit}" if receipt.exit else receipt.route


def _save(target: Path, outputs: Mapping[str, Array]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, allow_pickle=False, **outputs)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and 95th percentile; 0 where there is nothing."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _bar(report: Report) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=report.err, transient=True,
    )  # fmt: skip
