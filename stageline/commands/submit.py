"""`stageline submit`: hand requests over to a gateway's journal and go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from schemas.base import check_name
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct
from stageline.commands.input_files import find_files
from stageline.inputs import FileContent
from stageline.journal.intake import UnfitFileError, read_file
from stageline.journal.records import Handover
from stageline.journal.source import DEADLINE_S, new_request
from stageline.journal.store import DEFAULT_MOST_BYTES, Journal
from stageline.tables import new_table

_TOGETHER: Final = 32
_TOGETHER_BYTES: Final = 32_000_000
_FAILURES: Final = 20
_LISTED: Final = 20


def submit(
    journal: options.Journal,
    deployment: Annotated[
        str | None, typer.Argument(help="Which deployment is to answer; it may be served later.")
    ] = None,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Pictures, .npy or .npz arrays, and folders of them.")
    ] = None,
    deadline_s: Annotated[
        float, typer.Option("--deadline", min=1, help="Seconds from now by which each must be answered.")
    ] = DEADLINE_S,
    request: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="NAME", help="The request's name, for one file: said again, it is not done again."
        ),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show how far the journal's requests are instead.")] = False,
    most_mb: Annotated[
        float, typer.Option("--max-mb", min=0.001, help="Refuse when more than this waits in the journal.")
    ] = DEFAULT_MOST_BYTES / 1e6,
    json: options.Json = None,
) -> None:
    """Hand requests over durably: then they are on disk, and `stageline gateway` delivers each answer once.

    stageline submit --journal /var/spool/cats cats pic.jpg door/

    stageline submit --journal /var/spool/cats cats pic.jpg --id door-2024-05-01T12-00   (again: no second request)

    stageline submit --journal /var/spool/cats --status

    Needs no broker and no gateway at that moment. Files are copied; numbers only, never Python objects. A file that is
    no picture and no array is not handed over; the others are.

    Exit codes: 0 all are on disk; 1 some files could not be handed over (each says why); 2 to mend: nothing was handed
    over (no such file, journal full, held, damaged, no room on the disk).
    """

    def work(report: Report) -> int:
        if status:
            if deployment or paths:
                raise MendError("--status shows the journal; leave out what is to be handed over")
            with Journal(journal, must_exist=True) as opened:
                _show_status(report, opened)
            return DONE
        if not deployment or not paths:
            raise MendError(
                "say which deployment and which files: stageline submit --journal DIR DEPLOYMENT FILE ... "
                "(what is in the journal is delivered by `stageline gateway --journal DIR`)"
            )
        check_name("deployment", deployment)
        files = find_files(paths)
        if request is not None and len(files) != 1:
            raise MendError(f"--id names one request, and there are {len(files)} files")
        if request is not None:
            check_name("request", request)
        with Journal(journal, most_bytes=int(most_mb * 1e6)) as opened:
            rows = _hand_over(opened, deployment, files, request, deadline_s)
        _show(report, journal, rows)
        return SOME_FAILED if any("error" in row for row in rows) else DONE

    conduct(json, work)


def _hand_over(
    journal: Journal, deployment: str, files: list[Path], request: str | None, deadline_s: float
) -> list[dict[str, Any]]:
    """Journal the files, some at a time; one row about each."""
    rows: list[dict[str, Any]] = []
    batch: list[tuple[dict[str, Any], Handover]] = []

    def flush() -> None:
        for (row, _), new in zip(batch, journal.hand_over([one for _, one in batch]), strict=True):
            row["new"] = new
        batch.clear()

    for path in files:
        row: dict[str, Any] = {"file": str(path)}
        rows.append(row)
        try:
            content: FileContent = read_file(path)
        except UnfitFileError as error:
            row["error"] = str(error)
            continue
        row["request"] = request or new_request()
        batch.append((row, Handover(row["request"], deployment, content, time.time() + deadline_s)))
        if len(batch) >= _TOGETHER or sum(len(one.content.data) for _, one in batch) > _TOGETHER_BYTES:
            flush()
    if batch:
        flush()
    return rows


def _show(report: Report, folder: Path, rows: list[dict[str, Any]]) -> None:
    table = new_table(None, "~file", "request")
    listed = [row for row in rows if "error" in row] + [row for row in rows if "error" not in row][:_LISTED]
    for row in listed:
        error = f"[red]{escape(row['error'])}[/red]" if "error" in row else ""
        table.add_row(escape(row["file"]), error or row["request"] + ("" if row["new"] else "  (was there already)"))
    report.out.print(table)
    new = sum(bool(row.get("new")) for row in rows)
    refused = sum("error" in row for row in rows)
    there = len(rows) - new - refused
    if len(listed) < len(rows):
        report.out.print(f"... and {len(rows) - len(listed)} more; --json FILE lists all")
    already = f", {there} there already" if there else ""
    report.out.print(f"{new} handed over to {folder}{already}, {refused} refused", markup=False)
    report.write_json({"journal": str(folder), "requests": rows})


def _show_status(report: Report, journal: Journal) -> None:
    now = time.time()
    tallies, failures, asides = journal.tallies(), journal.failures(_FAILURES), journal.asides(_LISTED)
    table = new_table(
        str(journal.folder), "deployment", ">open", ">aside", ">arriving", ">answered", ">failed", ">waiting MB",
        ">oldest open",
    )  # fmt: skip
    for one in tallies:
        age = "-" if one.oldest_open is None else f"{max(0.0, now - one.oldest_open):.0f} s"
        table.add_row(
            one.deployment, str(one.open), str(one.aside), str(one.arriving), str(one.answered), str(one.failed),
            f"{one.waiting_bytes / 1e6:.1f}", age,
        )  # fmt: skip
    report.out.print(table if tallies else f"{journal.folder} is empty")
    if failures:
        shown = new_table("Failed, newest first", "request", "deployment", "~file", "reason", "~detail")
        for failure in failures:
            shown.add_row(
                failure.request, failure.deployment, escape(failure.name), failure.reason, escape(failure.detail)
            )
        report.out.print(shown)
    if asides:
        shown = new_table("Set aside: their outcomes cannot be shown", "request", "deployment", "~file", "~why")
        for aside in asides:
            shown.add_row(aside.request, aside.deployment, escape(aside.name), escape(aside.why))
        report.out.print(shown)
    report.write_json(
        {
            "journal": str(journal.folder),
            "deployments": [
                {
                    "deployment": one.deployment,
                    "open": one.open,
                    "aside": one.aside,
                    "arriving": one.arriving,
                    "answered": one.answered,
                    "failed": one.failed,
                    "waiting_bytes": one.waiting_bytes,
                    "oldest_open_s": None if one.oldest_open is None else max(0.0, now - one.oldest_open),
                }
                for one in tallies
            ],
            "failures": [
                {"request": one.request, "deployment": one.deployment, "file": one.name, "reason": one.reason,
                 "detail": one.detail}
                for one in failures
            ],
            "set_aside": [
                {"request": one.request, "deployment": one.deployment, "file": one.name, "why": one.why}
                for one in asides
            ],
        }
    )  # fmt: skip
