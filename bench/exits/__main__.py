"""`python -m bench.exits`: easy inputs, then hard ones, on a line of a weak camera and a stronger box."""

from __future__ import annotations

import asyncio
import json as to_json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import onnx
import typer
from rich.console import Console
from rich.markup import escape

from bench.exits.measure import CAMERA, DEVICES, Kind, Row, run
from bench.exits.network import EASY, HARD, bright_network, pictures
from bench.line import LINE_FAILURES
from broker.embedded import MosquittoMissingError
from models.importer import import_model
from models.library import Library
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct
from stageline.demo.fleet import house
from stageline.deploying import NoPlannerError, SilentPlannerError
from stageline.emulation.house import ServiceEndedError
from stageline.tables import new_table

DEFAULT_FOLDER: Final = Path("build/exits")
PHASE_S: Final = 45.0
_MODEL: Final = "bright"
_PICTURES: Final = 64

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def exits(
    seconds: Annotated[
        float, typer.Option("--seconds", min=5, help="For how long each kind of input comes.")
    ] = PHASE_S,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results.json goes.")] = DEFAULT_FOLDER,
    json: options.Json = None,
) -> None:
    """Show that the cut moves when inputs become harder, and what that gains.

    A made-up network with two exits (a head is the surer, the brighter the picture) is served by a camera with 0.4
    cores, which must run the first block, and a box with 0.6, for throughput. Bright pictures come as fast as the line
    takes them, then dark ones, then bright ones again. Nothing tells the planner: it hears how many leave where.

    Writes results.json. Exit codes: 0 measured, whatever came of it; 1 it failed, or an answer was lost.
    """

    def work(report: Report) -> int:
        before = os.getloadavg()[0]
        try:
            rows, audit = _measured(report.err, seconds)
        except (*LINE_FAILURES, ServiceEndedError, SilentPlannerError, NoPlannerError) as error:
            report.err.print(f"failed: {error}", markup=False)
            return SOME_FAILED
        found: dict[str, Any] = {
            "devices": DEVICES, "pinned": {CAMERA: [0, 1]}, "seconds": seconds,
            "rows": [row.as_dict() for row in rows], "audit": audit,
            "machine_load": [round(before, 2), round(os.getloadavg()[0], 2)],
        }  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(to_json.dumps(found, indent=2) + "\n", encoding="utf-8")
        _show(report.out, rows)
        report.write_json(found)
        return SOME_FAILED if audit["failed"] or audit["lost"] else DONE

    conduct(json, work, known=(MosquittoMissingError,))


def _measured(err: Console, seconds: float) -> tuple[list[Row], dict[str, Any]]:
    easy, hard = (pictures(kind, _PICTURES, seed=seed) for seed, kind in enumerate((EASY, HARD)))
    kinds = [Kind("easy", easy, seconds), Kind("hard", hard, seconds), Kind("easy again", easy, seconds)]
    with tempfile.TemporaryDirectory(prefix="stageline-exits-") as name, err.status("") as status:
        folder = Path(name)
        library = Library(folder / "library")
        onnx.save(bright_network(), folder / f"{_MODEL}.onnx")
        import_model(str(folder / f"{_MODEL}.onnx"), library)
        with house(folder, folder / "library", DEVICES) as running:
            return asyncio.run(run(running, _MODEL, kinds, lambda text: status.update(escape(text))))


def _show(console: Console, rows: list[Row]) -> None:
    table = new_table(
        "Inputs change, then the plan",
        "inputs",
        ">for s",
        "~plan",
        ">per s",
        ">predicted",
        "~left at",
        "~why this plan",
    )
    for row in rows:
        left = ", ".join(f"{where} {share:.0%}" for where, share in row.shares.items())
        table.add_row(
            row.inputs, f"{row.seconds:.0f}", escape(row.plan), f"{row.throughput_rps:.1f}",
            f"{row.predicted_rps:.1f}", left, escape(row.cause),
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    app()
