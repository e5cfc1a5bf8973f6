"""`stageline infer`: pictures, folders and arrays through a deployment, one result each."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stageline.client import Client
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct, open_bus, settings_of
from stageline.commands.infer_outcome import Outcome
from stageline.commands.input_files import find_files
from stageline.commands.known_deployments import existing, the_only_deployment
from stageline.receipts import RequestFailedError


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
        outcome = Outcome(name, top=top, save=save)
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


def _bar(report: Report) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=report.err, transient=True,
    )  # fmt: skip
