"""`stageline exits calibrate`: thresholds for an accuracy, from what was measured when the exits were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.exits.calibrated import USUAL_LOSS, Target
from models.exits.calibrated import calibrate as choose
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct
from stageline.commands.exits_show import card_tables, in_words
from stageline.wishes import BadWishError, parse_thresholds


def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What stageline exits train wrote.")],
    accuracy_min: Annotated[
        float | None, typer.Option("--accuracy-min", help="At least this share of answers right, as in 0.9.")
    ] = None,
    loss: Annotated[
        float | None, typer.Option("--loss", help="Or: so much less than with every exit closed; else 0.01.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", metavar="EXIT=T", help="Or: thresholds of yours; others close. Repeatable."),
    ] = None,
    json: options.Json = None,
) -> None:
    """Choose thresholds: the least work that is accurate enough, on validation data that training never saw.

    stageline exits calibrate my-exits --accuracy-min 0.9

    stageline exits calibrate my-exits --loss 0.02

    stageline exits calibrate my-exits --threshold exit1=0.8 --threshold exit2=0.6

    A request leaves at the first exit whose largest softmax probability is at least its threshold. Card and ONNX file
    are rewritten; import the file again to serve it so. Done in a second, without PyTorch. A deployment may also be
    given thresholds or an accuracy while it serves: stageline deploy --threshold, --accuracy-min.

    Exit codes: 0 calibrated; 2 to mend: no such folder or exit, a threshold outside 0 to 1, an accuracy out of reach.
    """

    def work(report: Report) -> int:
        with in_words():
            usual = accuracy_min is None and loss is None and not threshold
            card = choose(
                folder,
                Target(
                    accuracy_min=accuracy_min,
                    drop=USUAL_LOSS if usual else loss,
                    thresholds=parse_thresholds(threshold) if threshold else None,
                ),
            )
        card_tables(report.out, card)
        report.out.print(f"In {folder}. Next: stageline import {folder / card.onnx}", markup=False)
        report.write_json(card.model_dump(mode="json"))
        return DONE

    conduct(json, work, known=(BadWishError,))
