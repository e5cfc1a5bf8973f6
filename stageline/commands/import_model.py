"""`stageline import`: a model becomes blocks and weights in the hub's library."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from models.importer import import_model as import_into
from models.library import Library
from schemas.model import ModelCard
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct, settings_of
from stageline.cut_summary import spread_cuts
from stageline.tables import new_table

_ROWS = 10


def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name (mobilenet_v2, resnet18, efficientnet-lite0, ...), package.module:factory, or FILE.onnx.",
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", "-n", help="Its name on the bus; else made from MODEL.")] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="default: trained ones (may download); random: for trying things out.")
    ] = "default",
    seed: options.Seed = 0,
    input_shape: Annotated[
        str | None,
        typer.Option("--input-shape", metavar="1x3x224x224", help="For a factory, or an .onnx with open sizes."),
    ] = None,
    library: options.Library = None,
    json: options.Json = None,
) -> None:
    """Export a model once, find every place where it may be cut, and store its weights by hash.

    stageline import mobilenet_v2

    stageline import my_package.nets:make_net --input-shape 1x3x96x96

    stageline import detector.onnx --name detector

    Run it on the hub: the planner sees the new model by itself. Needs PyTorch (pip install 'stageline\\[torch]') except
    for .onnx files.

    Exit codes: 0 imported; 2 to mend: no such model, not an ONNX file, no room on the disk.
    """

    def work(report: Report) -> int:
        into = Library(settings_of(library=library).library_dir)
        shape = parse_shape(input_shape)
        if weights not in ("default", "random"):
            raise MendError(f"--weights {weights}: write default or random")
        kind: Literal["default", "random"] = "random" if weights == "random" else "default"
        with progress_bar(report.err) as bar:
            task = bar.add_task(f"importing {source}", total=1.0)

            def show(what: str, share: float) -> None:
                bar.update(task, description=what, completed=share)

            try:
                card = import_into(source, into, name=name, weights=kind, seed=seed, input_shape=shape, progress=show)
            except (ValueError, LookupError, OSError, RuntimeError) as error:
                if not (isinstance(error, OSError) or type(error).__module__.startswith("models.")):
                    raise
                # What models/ refuses, it refuses in words; which errors there are cannot be named without PyTorch.
                raise MendError(str(error)) from error
        _show(report.out, card, into)
        report.write_json(document(card))
        return DONE

    conduct(json, work)


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """`1x3x224x224` as numbers.

    Raises:
        MendError: something else.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise MendError(f"--input-shape {text}: write sizes with x between them, like 1x3x224x224")
    return tuple(int(part) for part in parts)


def document(card: ModelCard) -> dict[str, object]:
    """For JSON."""
    return {
        "name": card.name,
        "source": card.source,
        "sha256": card.sha256,
        "blocks": len(card.blocks),
        "macs": card.macs,
        "weight_bytes": card.weight_bytes,
        "inputs": [str(spec) for spec in card.inputs],
        "outputs": [str(spec) for spec in card.outputs],
        "labels": len(card.labels),
        "exits": [{"name": one.name, "block": one.block, "threshold": one.threshold} for one in card.exits],
        "cuts": [{"position": p, "bytes": cut.nbytes, "tensors": len(cut.tensors)} for p, cut in enumerate(card.cuts)],
        "notes": list(card.notes),
    }


def _show(console: Console, card: ModelCard, library: Library) -> None:
    inputs, outputs = ", ".join(map(str, card.inputs)), ", ".join(map(str, card.outputs))
    console.print(
        f"[bold]{card.name}[/bold]: {len(card.blocks)} blocks, {card.macs / 1e6:.0f} million multiply-accumulates, "
        f"{card.weight_bytes / 1e6:.1f} MB of weights, in {library.root}"
    )
    console.print(f"  takes {inputs}\n  gives {outputs}", markup=False)
    for one in card.exits:
        share = sum(block.macs for block in card.blocks[: one.block + 1]) / max(1, card.macs)
        console.print(
            f"  exit {one.name} after block {one.block} ({share:.0%} of the work), threshold {one.threshold:.3g}",
            markup=False,
        )
    for note in card.notes:
        console.print(f"  note: {note}", markup=False)
    positions = spread_cuts(card, _ROWS)
    if not positions:
        console.print("  It cannot be cut: it will run whole, on one device at a time.")
        return
    table = new_table(
        f"Cheap places to cut, of {len(card.cuts) - 2}", ">before block", "~after", ">kB", ">tensors", ">work before",
        ">weights before",
    )  # fmt: skip
    for position in positions:
        before, cut = card.blocks[:position], card.cuts[position]
        table.add_row(
            str(position),
            card.blocks[position - 1].label,
            f"{cut.nbytes / 1000:.1f}",
            str(len(cut.tensors)),
            f"{sum(block.macs for block in before) / max(1, card.macs):.0%}",
            f"{sum(block.weight_bytes for block in before) / max(1, card.weight_bytes):.0%}",
        )
    console.print(table)


def progress_bar(console: Console) -> Progress:
    """One line that says what is being done, how far it is and since when; gone at the end."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console,
        transient=True,
    )  # fmt: skip
