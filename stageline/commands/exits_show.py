"""`stageline exits show`: where a network may get exits, and what trained ones are worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from models.exits.card_files import read_card
from models.exits.choosing import LEAST_BEHIND, saving
from models.exits.training_card import Point, TrainingCard
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct
from stageline.commands.import_model import parse_shape
from stageline.tables import new_table

if TYPE_CHECKING:
    from models.exits.cut_places import Place, Places

_POINTS = 10


def show(
    what: Annotated[
        str, typer.Argument(metavar="MODEL|FOLDER", help="A PyTorch network, or a folder of stageline exits train.")
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", metavar="1x3x32x32", help="For a factory that does not say it.")
    ] = None,
    json: options.Json = None,
) -> None:
    """Show where a network may get exits, or what the exits of a trained one are worth.

    stageline exits show resnet18     (the blocks that --at of stageline exits train may name)

    stageline exits show my-exits     (accuracy, exit probabilities and thresholds worth having)

    A network is only looked at: nothing is downloaded. A block behind which less than 0.5% of the work lies is left out
    (a line says how many were): an exit there would save nothing.

    Exit codes: 0 shown; 2 to mend: no such network or folder.
    """

    def work(report: Report) -> int:
        if Path(what).is_dir():
            with in_words():
                card = read_card(Path(what))
            card_tables(report.out, card)
            report.write_json(card.model_dump(mode="json"))
            return DONE
        found = _places(what, parse_shape(input_shape))
        if not found.places:
            raise MendError(
                f"{what} has no place for an exit: no cut that one float tensor crosses, made by a submodule"
            )
        worth = saving(found.places, found.macs)
        if not worth:
            raise MendError(
                f"{what}: an exit could only stand after {_blocks(found.places)}, with less than {LEAST_BEHIND:.1%} of "
                "the work behind it, and save nothing; build what lies before it of submodules"
            )
        _show_places(report.out, what, found, worth)
        report.write_json(
            [
                {"block": one.block, "label": one.label, "reads": one.submodule, "shape": list(one.shape),
                 "macs": one.macs, "share": one.share}
                for one in worth
            ]
        )  # fmt: skip
        return DONE

    conduct(json, work)


def card_tables(console: Console, card: TrainingCard) -> None:
    """What the exits of a training card are worth."""
    table = new_table(
        f"{card.name}: {card.backbone} with {len(card.exits)} exits, trained on {card.data}", "exit", ">after block",
        ">work before", ">threshold", ">leave here", ">accuracy alone", ">on test",
    )  # fmt: skip
    for one in card.exits:
        table.add_row(
            one.name, str(one.block), f"{one.macs_before / card.macs:.0%}", f"{one.threshold:.4f}",
            f"{one.probability:.1%}", f"{one.accuracy:.1%}", f"{one.accuracy_test:.1%}",
        )  # fmt: skip
    rest = f"{1 - sum(one.probability for one in card.exits):.1%}" if card.chosen else ""
    table.add_row("the end", "", "100%", "", rest, f"{card.accuracy:.1%}", f"{card.accuracy_test:.1%}")
    console.print(table)
    if card.chosen is None:
        console.print("Not calibrated yet: stageline exits calibrate FOLDER")
        return
    tested = "" if card.accuracy_chosen_test is None else f" ({card.accuracy_chosen_test:.1%} on test)"
    console.print(
        f"With these thresholds {card.chosen.accuracy:.1%} of the answers are right{tested}, for "
        f"{card.chosen.macs / card.macs:.0%} of the backbone's work."
    )
    for line in too_dear(card):
        console.print(line, markup=False)
    console.print(_points_table(card))


def too_dear(card: TrainingCard) -> list[str]:
    """A line for each exit that nobody can gain by: its head is more work than all that lies behind it."""
    return [
        f"{one.name} saves nothing: its head is {one.macs_head / card.macs:.0%} of the backbone's work, and only "
        f"{1 - one.macs_before / card.macs:.0%} lies behind it. Train with a smaller --head-width, or an earlier --at"
        for one in card.exits
        if one.macs_head >= card.macs - one.macs_before
    ]


def _points_table(card: TrainingCard) -> object:
    names = [one.name for one in card.exits]
    table = new_table(
        "Thresholds worth having", ">accuracy", ">work", *(f">{name}" for name in names),
        *(f">leave at {name}" for name in names), keys=2,
    )  # fmt: skip
    step = max(1, -(-len(card.points) // _POINTS))
    shown: list[Point] = list(card.points[::-1][::step])[::-1]
    for one in shown:
        table.add_row(
            f"{one.accuracy:.1%}", f"{one.macs / card.macs:.0%}", *(f"{value:.4f}" for value in one.thresholds),
            *(f"{value:.0%}" for value in one.shares),
        )  # fmt: skip
    return table


def _places(source: str, shape: tuple[int, ...] | None) -> Places:
    try:
        from models.exits.backbone import load_backbone  # noqa: PLC0415 - PyTorch takes seconds to import
        from models.exits.cut_places import find_places  # noqa: PLC0415
    except ImportError as error:
        raise MendError(f"looking into a network needs PyTorch: pip install 'stageline[torch]' ({error})") from error
    with in_words():
        # Where the cuts are does not depend on weights.
        return find_places(load_backbone(source, weights="random", seed=0, input_shape=shape))


def _show_places(console: Console, source: str, found: Places, worth: Sequence[Place]) -> None:
    table = new_table(
        f"Places for exits in {source}, {found.macs / 1e6:.0f} million multiply-accumulates", ">after block", "~block",
        ">work before", ">reads", "~of",
    )  # fmt: skip
    for one in worth:
        table.add_row(
            str(one.block), escape(one.label), f"{one.share:.0%}", "x".join(map(str, one.shape[1:])), one.submodule
        )
    console.print(table)
    if left_out := [one for one in found.places if one not in worth]:
        console.print(
            f"Left out: {_blocks(left_out)}, with less than {LEAST_BEHIND:.1%} of the work behind; an exit there would "
            "save nothing.",
            markup=False,
        )
    few = worth[:: max(1, len(worth) // 2)][:2]
    console.print(
        f"stageline exits train {source} --at {','.join(str(one.block) for one in few)} --data folder:DIR --out DIR",
        markup=False,
    )


def _blocks(places: Sequence[Place]) -> str:
    return f"{'block' if len(places) == 1 else 'blocks'} {', '.join(str(one.block) for one in places)}"


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """What models/ refuses, it refuses in words: those are for the person at the terminal.

    Raises:
        MendError: in the place of its errors, which cannot all be named without PyTorch.
    """
    try:
        yield
    except (ValueError, LookupError, OSError) as error:
        if not (isinstance(error, OSError) or type(error).__module__.startswith("models.")):
            raise
        raise MendError(str(error)) from error
