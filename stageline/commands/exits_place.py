"""`stageline exits place`: which of the trained exits to keep, as every method of choosing them says."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from models.exits.calibrated import USUAL_LOSS, measured_of
from models.exits.calibration import Choice
from models.exits.card_files import VALIDATION, read_card
from models.exits.keeping import Keeping, methods
from models.exits.training_card import TrainingCard
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct
from stageline.commands.exits_show import in_words
from stageline.tables import new_table
from stageline.training_again import train_again

Row = tuple[str, tuple[int, ...], Choice, float]
"""Method, exits that it keeps, what they lead to, seconds."""


def place(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What stageline exits train wrote.")],
    exits: Annotated[int, typer.Option("--exits", "-n", metavar="N", help="Keep at most so many.")],
    loss: Annotated[
        float, typer.Option("--loss", help="So much accuracy may be lost against every exit closed.")
    ] = USUAL_LOSS,
    json: options.Json = None,
) -> None:
    """Choose which of many trained exits to keep, by every method there is, from validation data.

    stageline exits train small-resnet --data digits --no-mirror --at auto:6 --out many

    stageline exits place many --exits 2

    spinn spreads them over the work (SPINN); dp is the cheapest where whoever could leave at an exit could leave at all
    later ones; beam and aco (an ant colony) know how exits' answers go together, and so does brute-force, which tries
    everything where there are few enough. Each exit has the threshold at which it alone costs at most its part of
    --loss. Needs no PyTorch, and changes nothing: the last line says how to go on.

    Exit codes: 0 chosen; 2 to mend: no such folder or data, one exit only, more exits than there are.
    """

    def work(report: Report) -> int:
        with in_words():
            card = read_card(folder)
            keeping = Keeping.of(measured_of(folder / VALIDATION, card), card.work, exits, loss)
            rows = _rows(keeping)
        _table(report.out, card, keeping, rows)
        good = [row for row in rows if keeping.reached(row[2])]
        best = min(good, key=lambda row: (row[2].macs, -row[2].accuracy, len(row[1])))
        _next(report.out, folder, card, best)
        report.write_json({
            "folder": str(folder), "most": exits, "accuracy_min": keeping.target, "best": best[0],
            "methods": [_document(card, keeping, row) for row in rows],
        })  # fmt: skip
        return DONE

    conduct(json, work)


def _rows(keeping: Keeping) -> list[Row]:
    rows = []
    for name, choose in methods(keeping).items():
        began = time.perf_counter()
        kept = choose(keeping)
        rows.append((name, kept, keeping.outcome(kept), time.perf_counter() - began))
    return rows


def _table(console: Console, card: TrainingCard, keeping: Keeping, rows: Sequence[Row]) -> None:
    table = new_table(
        f"{card.name}: at most {keeping.most} of {len(card.exits)} exits, {keeping.target:.1%} right or more",
        "method", "~keeps, from which confidence on", ">work", ">accuracy", ">seconds",
    )  # fmt: skip
    for name, kept, choice, seconds in rows:
        missed = "" if keeping.reached(choice) else " (too few)"
        table.add_row(
            name, escape(_pairs(card, kept, choice) or "none"), f"{choice.macs / card.macs:.1%}",
            f"{choice.accuracy:.1%}{missed}", f"{seconds:.3f}",
        )  # fmt: skip
    console.print(table)
    console.print("Work is of the backbone's, heads counted; accuracy is on validation data.")


def _next(console: Console, folder: Path, card: TrainingCard, best: Row) -> None:
    name, kept, choice, _ = best
    if not kept:
        console.print("Keep none: no exit saves work for so little loss. Allow more with --loss, or train longer.")
        return
    given = " ".join(f"--threshold {one}" for one in _pairs(card, kept, choice).split())
    console.print(
        f"Keep those of {name}; the others close:\n  stageline exits calibrate {shlex.quote(str(folder))} {given}\n"
        f"or train with them alone, and otherwise as before:\n  {train_again(card, kept)}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _pairs(card: TrainingCard, kept: Sequence[int], choice: Choice) -> str:
    return " ".join(f"{card.exits[one].name}={choice.thresholds[one]:g}" for one in kept)


def _document(card: TrainingCard, keeping: Keeping, row: Row) -> dict[str, object]:
    name, kept, choice, seconds = row
    return {
        "method": name,
        "exits": [
            {"name": card.exits[one].name, "block": card.exits[one].block, "threshold": choice.thresholds[one],
             "share": choice.shares[one]}
            for one in kept
        ],
        "work": choice.macs / card.macs, "accuracy": choice.accuracy, "reached": keeping.reached(choice),
        "seconds": seconds,
    }  # fmt: skip
