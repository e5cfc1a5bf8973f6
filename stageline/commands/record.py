"""`stageline record`: a fleet's telemetry, timings and decisions into a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from broker.bus import Bus
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, check_writable, conduct, open_bus, settings_of
from stageline.recorder import Recorder


def record(
    file: Annotated[Path, typer.Argument(help="Where to; one JSON object a line.")],
    for_s: Annotated[
        float | None, typer.Option("--for", min=0.1, metavar="S", help="Seconds; else until Ctrl-C.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    largest_mb: Annotated[
        int, typer.Option("--largest-mb", min=1, max=1024, help="End when the file has grown to this.")
    ] = 1024,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Write down all that devices, planner and submitters say, except tensors and weights; disturbs nobody.

    stageline record monday.jsonl --for 600

    `stageline replay FILE` shows what any policy would have decided meanwhile.

    Exit codes: 0 recorded, Ctrl-C included; 2 to mend: no broker, a file that cannot be written.
    """

    async def work(report: Report) -> int:
        check_writable(file)
        async with open_bus(settings_of(broker=broker, root=root), "record") as bus:
            with _opened(file, force=force) as written:
                recorder = Recorder(bus, written, most_bytes=largest_mb << 20)
                try:
                    await _record(recorder, report, bus, for_s)
                finally:
                    _tell(report, recorder, file)
        return DONE

    conduct(json, work, interrupted=DONE)


async def _record(recorder: Recorder, report: Report, bus: Bus, for_s: float | None) -> None:
    running = asyncio.create_task(recorder.run(for_s))
    try:
        with report.err.status("recording") as status:
            while not running.done():
                await asyncio.wait((running,), timeout=0.5)
                left = "Ctrl-C ends it" if for_s is None else f"of {for_s:g} s"
                away = "" if bus.connected else "; the broker is away"
                status.update(
                    f"recording: {recorder.messages.total()} messages, {recorder.seconds:.0f} s, {left}{away}"
                )
    finally:
        running.cancel()
        await asyncio.wait((running,))
    running.result()


def _opened(file: Path, *, force: bool) -> BinaryIO:
    try:
        return file.open("wb" if force else "xb")
    except FileExistsError:
        raise MendError(f"{file} exists: name another file, or write over it with --force") from None
    except OSError as error:
        raise MendError(f"{file} cannot be written: {error.strerror or error}") from None


def _tell(report: Report, recorder: Recorder, file: Path) -> None:
    if recorder.full:
        report.err.print("The file is as large as it may be, so this ended (--largest-mb).")
    report.out.print(
        f"{recorder.messages.total()} messages of {recorder.seconds:.1f} s in {file} ({recorder.nbytes / 1e6:.1f} MB)",
        markup=False,
    )
    report.write_json(
        {
            "file": str(file), "seconds": round(recorder.seconds, 3), "bytes": recorder.nbytes,
            "full": recorder.full, "messages": dict(sorted(recorder.messages.items())),
        }
    )  # fmt: skip
