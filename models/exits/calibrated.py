"""Thresholds into a trained model: from its folder's validation data to its card and the declaration in its ONNX file.

Needs no PyTorch, and can be repeated with another target whenever somebody wants another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx

from models.durable import write_file
from models.exits.calibration import (
    BadThresholdsError,
    Choice,
    cheapest,
    correctness_correlation,
    correlation,
    evaluate,
)
from models.exits.card_files import TEST, VALIDATION, BadCardError, read_card, write_card
from models.exits.declared import Declared, DeclaredExit, read_declared, write_declared
from models.exits.measured import BadMeasurementError, Measured
from models.exits.training_card import Point, TrainingCard
from models.exits.worthwhile import worthwhile
from models.proto import NotAGraphError, parse
from schemas.model import CLOSED, OperatingPoint

USUAL_LOSS: Final = 0.01
"""Of accuracy, where nobody says how much may be lost."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What thresholds are chosen for; just one of the three.

    Attributes:
        accuracy_min: at least so accurate on validation data.
        drop: at most so much less accurate than with every exit closed.
        thresholds: given, by exit; exits that are not named are closed.
    """

    accuracy_min: float | None = None
    drop: float | None = None
    thresholds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Raises BadThresholdsError."""
        if sum(one is not None for one in (self.accuracy_min, self.drop, self.thresholds)) != 1:
            raise BadThresholdsError(
                "choose thresholds for an accuracy, for a loss of accuracy, or give them: one of these"
            )
        for name, share in (("accuracy", self.accuracy_min), ("loss of accuracy", self.drop)):
            if share is not None and not 0 <= share <= 1:
                raise BadThresholdsError(f"{name} {share}: write a share from 0 to 1, like 0.9")
        for exit_, threshold in (self.thresholds or {}).items():
            if not 0 <= threshold <= 1:
                raise BadThresholdsError(
                    f"threshold {threshold} of {exit_}: from 0 (everybody leaves) to 1 (nobody does)"
                )


def calibrate(folder: Path, target: Target) -> TrainingCard:
    """Choose thresholds, and write them into the ONNX file and the card.

    Raises:
        BadCardError, BadMeasurementError: the folder is not what `stageline exits train` wrote.
        BadThresholdsError: an exit that there is not, or thresholds outside 0 to 1.
        UnreachableAccuracyError: nothing is so accurate.
    """
    card = read_card(folder)
    validation = measured_of(folder / VALIDATION, card)
    test = measured_of(folder / TEST, card)
    choices = worthwhile(validation, card.work)
    chosen = _chosen(card, validation, choices, target)
    tested = evaluate(test, card.work, chosen.thresholds)
    calibrated = card.model_copy(
        update={
            "exits": tuple(
                one.model_copy(update={"threshold": threshold, "probability": share, "probability_test": share_test})
                for one, threshold, share, share_test in zip(
                    card.exits, chosen.thresholds, chosen.shares, tested.shares, strict=True
                )
            ),
            "accuracy_min": _wanted(card, target),
            "chosen": _point(chosen),
            "accuracy_chosen_test": tested.accuracy,
            "correlation": correlation(validation, chosen.thresholds),
            "correctness_correlation": correctness_correlation(validation),
            "points": tuple(map(_point, choices)),
        }
    )
    _declare(folder / card.onnx, calibrated)
    write_card(folder, calibrated)
    return calibrated


def _chosen(card: TrainingCard, validation: Measured, choices: tuple[Choice, ...], target: Target) -> Choice:
    if target.thresholds is None:
        wanted = _wanted(card, target)
        return cheapest(choices, wanted if wanted is not None else 0.0)
    unknown = target.thresholds.keys() - {one.name for one in card.exits}
    if unknown:
        raise BadThresholdsError(
            f"there is no exit {sorted(unknown)[0]!r}: there are {', '.join(one.name for one in card.exits)}"
        )
    return evaluate(validation, card.work, [target.thresholds.get(one.name, CLOSED) for one in card.exits])


def _wanted(card: TrainingCard, target: Target) -> float | None:
    if target.drop is not None:
        return max(0.0, card.accuracy - target.drop)
    return target.accuracy_min


def _point(choice: Choice) -> Point:
    return Point(thresholds=choice.thresholds, shares=choice.shares, accuracy=choice.accuracy, macs=choice.macs)


def measured_of(path: Path, card: TrainingCard) -> Measured:
    """What every exit of a card says of the examples in a file beside it.

    Raises:
        BadMeasurementError: the file is damaged, not there, or of another number of exits.
    """
    found = Measured.load(path)
    if found.exits != len(card.exits):
        raise BadMeasurementError(path, f"it is of {found.exits} exits, the card of {len(card.exits)}")
    return found


def _declare(path: Path, card: TrainingCard) -> None:
    try:
        model = parse(path.read_bytes())
    except (OSError, NotAGraphError) as error:
        raise BadCardError(f"{path}, which belongs to the card, cannot be read: {error}") from error
    known = {one.name: one.output for one in read_declared(model).exits}
    if known.keys() != {one.name for one in card.exits}:
        raise BadCardError(f"{path} declares other exits than the card beside it; train again")
    write_declared(model, declaration(card, known))
    write_file(path, _bytes(model))


def declaration(card: TrainingCard, outputs: Mapping[str, str]) -> Declared:
    """The card's exits and points as the ONNX file says them.

    Args:
        card: calibrated.
        outputs: by exit, the output of the graph that its head gives.
    """
    return Declared(
        exits=tuple(
            DeclaredExit(name=one.name, output=outputs[one.name], threshold=one.threshold) for one in card.exits
        ),
        points=tuple(
            OperatingPoint(thresholds=one.thresholds, shares=one.shares, accuracy=one.accuracy) for one in card.points
        ),
    )


def _bytes(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data
