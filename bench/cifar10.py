"""`python -m bench.cifar10`: trains the small multi-exit network for CIFAR-10 that is shipped, and writes it as ONNX.

Two steps, so that the first may run where there is a GPU and nothing of Stageline is installed: it needs torch, numpy,
pillow, typer and rich, and leaves arrays only. The second needs no data.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Final

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.exits.examples import BadDataError, Dataset, split
from models.exits.measured import BadMeasurementError
from models.exits.multi_exit import MultiExit, Tap
from models.exits.picture_arrays import read_npz
from models.exits.recipe import BadRecipeError, Recipe
from models.exits.small_resnet import CIFAR10_PICTURE, SmallResNet
from models.exits.training import DivergedError, measure, train
from models.exits.weights_file import BadWeightsError, save_weights

TAPS: Final = (Tap("early", "stages.0.0"), Tap("middle", "stages.1.1"), Tap("late", "stages.2.0"))
"""About 16, 43 and 70 % of the backbone's work lie before them."""
DEFAULT_FOLDER: Final = Path("build/cifar10")
WEIGHTS: Final = "weights.npz"
FIGURES: Final = "training.json"
_HELP: Final = (
    "Train the small multi-exit network for CIFAR-10 and write it as ONNX, with its training card.\n\n"
    "  python -m bench.cifar10 --data torchvision:CIFAR10:data --download --epochs 2   [dim]# minutes on a CPU[/dim]\n"
    "  python -m bench.cifar10 --data cifar10.npz --device cuda --only-train   [dim]# on a machine with a GPU[/dim]\n"
    "  python -m bench.cifar10 --finish                            [dim]# ONNX and thresholds from its folder[/dim]"
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP)
def cifar10(  # noqa: PLR0917  typer's options are a command's parameters
    data: Annotated[
        str | None,
        typer.Option("--data", help="FILE.npz with pictures, or any that stageline exits train --data takes."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="torchvision may fetch the data.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")] = DEFAULT_FOLDER,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training pictures.")] = 100,
    batch: Annotated[int, typer.Option("--batch", help="Pictures a step.")] = 256,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="The largest.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    only_train: Annotated[bool, typer.Option("--only-train", help="Write weights and figures, no ONNX.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Do not train: ONNX from what the folder holds.")] = False,
) -> None:
    """See `_HELP`."""
    console = Console(stderr=True)
    try:
        if not finish:
            recipe = Recipe(
                epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed, distil=0.3, shift=4, mirror=True
            )
            train_into(out, _pictures(data, console, download=download), str(data), recipe, device, console)
        if not only_train:
            # Needs more than the first step does.
            from bench.cifar10_result import write_onnx  # noqa: PLC0415

            write_onnx(out, console)
    except (BadDataError, BadRecipeError, DivergedError, BadWeightsError, BadMeasurementError, OSError) as error:
        console.print(f"[red]cifar10:[/red] {error}")
        raise typer.Exit(2) from error


def network(seed: int) -> MultiExit:
    """The network with its heads and initial weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiExit(SmallResNet(), TAPS, torch.zeros(1, 3, 32, 32))


def _pictures(data: str | None, console: Console, *, download: bool) -> Dataset:
    if data is None:
        raise BadDataError(
            "give --data torchvision:CIFAR10:DIR (with --download where it is not there yet) or FILE.npz, or --finish "
            "for a folder that was trained before"
        )
    console.print(f"reading {data}", markup=False)
    if ":" not in data:
        return read_npz(Path(data))
    # Needs more than a bare machine with a GPU has.
    from models.exits.data_sources import open_data  # noqa: PLC0415
    from models.torch_source import TorchModel  # noqa: PLC0415

    made = TorchModel(SmallResNet(), (torch.zeros(1, 3, 32, 32),), CIFAR10_PICTURE)
    return open_data(data, made, download=download)


def train_into(  # noqa: PLR0917 - what a run is made of
    out: Path, pictures: Dataset, source: str, recipe: Recipe, device: str, console: Console
) -> None:
    """Train, and write weights, what every exit says of validation and test pictures, and the course of it.

    Args:
        out: made when missing.
        pictures: 32 x 32, of the classes of CIFAR-10.
        source: what the data are called, for the card.
        recipe: how.
        device: `cpu` or `cuda`.
        console: for progress.

    Raises:
        BadDataError, BadRecipeError, DivergedError: see there.
    """
    parts = split(pictures, recipe.seed)
    model = network(recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("training", total=1.0)

        def show(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        course = train(model, pictures, parts.train, recipe, picture=CIFAR10_PICTURE, device=device, progress=show)
    took_s = time.monotonic() - began
    sha = save_weights(model, out / WEIGHTS)
    measured = {}
    for name, rows in (("validation", parts.validation), ("test", parts.test)):
        found = measure(model, pictures, rows, picture=CIFAR10_PICTURE, device=device)
        found.save(out / f"{name}.npz")
        measured[name] = found.accuracy
        console.print(f"{name}: {', '.join(f'{share:.1%}' for share in found.accuracy)} (exits in order, final)")
    figures = {
        "data": source if ":" in source else f"npz:{Path(source).name}",
        "classes": list(pictures.classes),
        "examples": {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
        "recipe": dataclasses.asdict(recipe),
        "course": [dataclasses.asdict(epoch) for epoch in course],
        "weights_sha256": sha,
        "accuracy": measured,
        "trained_on": f"{device}, torch {torch.__version__}",
        "took_s": took_s,
    }
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {out}: {WEIGHTS}, validation.npz, test.npz, {FIGURES} ({took_s:.0f} s)")


if __name__ == "__main__":
    app()
