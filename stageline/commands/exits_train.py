"""`stageline exits train`: a network gets heads, and learns to answer early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.exits.card_files import CARD
from models.exits.recipe import Recipe
from stageline.commands import options
from stageline.commands.conduct import DONE, INTERRUPTED, MendError, Report, conduct
from stageline.commands.exits_show import card_tables, in_words
from stageline.commands.import_model import parse_shape, progress_bar


def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A PyTorch network: mobilenet_v2, resnet18, ... (any torchvision classifier), small-resnet, "
            "FILE.py:factory or package.module:factory.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="folder:DIR (a sub-folder of pictures for each class), torchvision:CIFAR10:DIR, npz:FILE, or digits.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the result; replaces another one there.")
    ],
    at: Annotated[
        str,
        typer.Option("--at", metavar="BLOCKS", help="After which blocks, as in 2,5; auto:N spreads N over the work."),
    ] = "auto:3",
    heads_only: Annotated[
        bool, typer.Option("--heads-only", help="Leave the network as it is; heads learn to answer as its end does.")
    ] = False,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training examples.")] = 10,
    batch: Annotated[int, typer.Option("--batch", help="Examples a step.")] = 64,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The largest; else 0.05, or 0.01 for all of a trained net.")
    ] = None,
    loss_weights: Annotated[
        str | None,
        typer.Option("--loss-weights", metavar="W,W,...", help="Of each exit and the end; else rising to 1."),
    ] = None,
    distil: Annotated[
        float | None,
        typer.Option("--distil", help="Share (0-1) that exits learn from the end, not from labels; else 0.7 or 0."),
    ] = None,
    head_width: Annotated[int, typer.Option("--head-width", min=4, max=1024, help="Channels of a head.")] = 64,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Also learn from mirrored pictures.")] = True,
    shift: Annotated[int, typer.Option("--shift", metavar="PIXELS", help="And from pictures moved by so much.")] = 0,
    accuracy_min: Annotated[
        float | None, typer.Option("--accuracy-min", help="Choose thresholds for this; else 0.01 below the end's own.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Of the new model; else MODEL-exits.")] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="What the network starts with: default (trained, may download) or random.")
    ] = "default",
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", metavar="1x3x32x32", help="For a factory that does not say it.")
    ] = None,
    seed: options.Seed = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    download: Annotated[bool, typer.Option("--download", help="torchvision may fetch the data.")] = False,
    json: options.Json = None,
) -> None:
    """Attach exits to a PyTorch network and train them; the result imports like any model.

    Heads alone, to a network that knows your classes (minutes on a laptop):

    stageline exits train nets.py:my_net --data folder:pictures --heads-only --out my-exits

    All together, to a torchvision network whose last layer becomes one for your classes:

    stageline exits train mobilenet_v2 --data folder:pictures --at auto:2 --epochs 5 --out my-exits

    Without a download, in a minute, to see how it goes:

    stageline exits train small-resnet --data digits --no-mirror --epochs 8 --out digits-exits

    Then: stageline import my-exits/NAME.onnx, stageline deploy NAME. The folder holds NAME.onnx with its exits, card.md
    and card.json (accuracy, exit probabilities, correlation), and validation.npz, from which stageline exits calibrate
    chooses other thresholds at any time. stageline exits show MODEL lists the blocks for --at.

    A tenth of the examples (or 15 of 100, where none are set apart for testing) choose the thresholds, and those for
    testing are only looked at. Needs PyTorch: pip install 'stageline\\[torch]'.

    Ctrl-C stops it; nothing is written before it is trained.

    Exit codes: 0 trained; 2 to mend: data that do not fit, an exit at no legal cut, numbers out of range; 130 stopped.
    """

    def work(report: Report) -> int:
        try:
            from models.exits.attaching import WRITING, Wish, train_exits  # noqa: PLC0415 - PyTorch takes seconds to import
        except ImportError as error:
            raise MendError(f"training needs PyTorch: pip install 'stageline[torch]' ({error})") from error
        kind: Literal["default", "random"] = "random" if weights == "random" else "default"
        if weights not in ("default", "random"):
            raise MendError(f"--weights {weights}: write default or random")
        if accuracy_min is not None and not 0 <= accuracy_min <= 1:
            raise MendError(f"--accuracy-min {accuracy_min:g}: write a share from 0 to 1, like 0.9")
        if (out / CARD).is_file():
            report.err.print(f"{out} holds another result: this one will take its place when it is done", markup=False)
        at_work = ""
        with progress_bar(report.err) as bar, in_words():
            task = bar.add_task(f"loading {source}", total=1.0)

            def show(what: str, share: float) -> None:
                nonlocal at_work
                at_work = what
                bar.update(task, description=what, completed=share)

            recipe = Recipe(
                epochs=epochs,
                batch=batch,
                learning_rate=learning_rate if learning_rate is not None else _usual_rate(source, weights, heads_only),
                seed=seed,
                frozen=heads_only,
                loss_weights=_numbers(loss_weights),
                distil=distil if distil is not None else 0.7 if heads_only else 0.0,
                mirror=mirror,
                shift=shift,
            )
            wish = Wish(
                source=source, data=data, at=at, name=name, weights=kind, input_shape=parse_shape(input_shape),
                head_width=head_width, device=device, download=download, accuracy_min=accuracy_min,
            )  # fmt: skip
            try:
                card, remarks = train_exits(out, wish, recipe, show)
            except KeyboardInterrupt:
                left = f"train again: {out} may be half written" if at_work == WRITING else "nothing was written"
                report.err.print(f"interrupted; {left}", markup=False)
                return INTERRUPTED
        for remark in remarks:
            report.err.print(remark, markup=False)
        card_tables(report.out, card)
        report.out.print(f"In {out}. Next: stageline import {out / card.onnx}", markup=False)
        report.write_json(card.model_dump(mode="json"))
        return DONE

    conduct(json, work)


def _usual_rate(source: str, weights: str, heads_only: bool) -> float:
    """What was trained before is only to be changed a little."""
    trained = weights == "default" and ":" not in source and source != "small-resnet"
    return 0.01 if trained and not heads_only else 0.05


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise MendError(f"--loss-weights {text}: write numbers with commas between them, like 0.3,0.6,1") from error
