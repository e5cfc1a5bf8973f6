"""A training card as a page that people read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.exits.calibration import Coefficients
from models.exits.recipe import Recipe
from models.exits.training_card import TrainingCard

_POINTS = 12


def page(card: TrainingCard) -> str:
    """Markdown. Pure."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: TrainingCard) -> Iterator[str]:
    yield f"# {card.name}: {card.backbone} with {len(card.exits)} early exits"
    yield ""
    how = "heads only, the backbone as it was" if card.recipe.frozen else "backbone and heads together"
    yield (
        f"Trained on {card.data} ({card.examples.train} examples, {len(card.classes)} classes), {how}: "
        f"{_recipe(card.recipe)}, on {card.trained_on}, {card.took_s:.0f} s. "
        f"Thresholds were chosen on {card.examples.validation} validation examples; {card.examples.test} test examples "
        "were used for nothing but the test columns."
    )
    yield ""
    yield f"Import it: `stageline import {card.onnx} --name {card.name}`"
    yield ""
    yield from _table(
        (
            "exit", "after block", "work before", "its head", "accuracy alone", "on test", "threshold", "leave here",
            "on test",
        ),
        [
            (
                one.name, one.block, f"{one.macs_before / card.macs:.0%}", f"{one.macs_head / card.macs:.1%}",
                f"{one.accuracy:.1%}", f"{one.accuracy_test:.1%}", f"{one.threshold:.4f}",
                f"{one.probability:.1%}", f"{one.probability_test:.1%}",
            )
            for one in card.exits
        ]
        + [("the end", "", "100%", "", f"{card.accuracy:.1%}", f"{card.accuracy_test:.1%}", "", "", "")],
    )  # fmt: skip
    yield ""
    if card.chosen is None:
        yield "Not calibrated yet: `stageline exits calibrate`."
        return
    tested = "" if card.accuracy_chosen_test is None else f" ({card.accuracy_chosen_test:.1%} on test)"
    yield (
        f"With these thresholds {card.chosen.accuracy:.1%} of the answers are right{tested}, for "
        f"{card.chosen.macs / card.macs:.0%} of the work of the backbone alone "
        f"({card.chosen.macs / 1e6:.1f} of {card.macs / 1e6:.1f} million multiply-accumulates)."
    )
    yield ""
    yield "## How exits go together"
    yield ""
    names = [one.name for one in card.exits]
    yield 'Correlation of "is sure enough to answer" between exits with these thresholds, over the validation examples'
    yield "(a dash: nobody, or everybody, is sure enough there, as at a closed exit, so there is nothing to correlate):"
    yield ""
    yield from _matrix(names, card.correlation)
    yield ""
    if card.correctness_correlation:
        yield 'Correlation of "is right" over the same examples, of closed exits too (a dash: always right, or never):'
        yield ""
        yield from _matrix([*names, "the end"], card.correctness_correlation)
        yield ""
    yield "## Thresholds worth having"
    yield ""
    step = max(1, -(-len(card.points) // _POINTS))
    shown = [*card.points[::step], *(card.points[-1:] if (len(card.points) - 1) % step else ())]
    yield from _table(
        ("accuracy", "work", *(f"threshold {name}" for name in names), *(f"leave at {name}" for name in names)),
        [
            (
                f"{one.accuracy:.1%}", f"{one.macs / card.macs:.0%}", *(f"{value:.4f}" for value in one.thresholds),
                *(f"{value:.1%}" for value in one.shares),
            )
            for one in shown
        ],
    )  # fmt: skip


def _recipe(recipe: Recipe) -> str:
    """Every choice that is not as it would be anyway, by its option's name where there is one."""
    return ", ".join(
        (
            f"{recipe.epochs} epochs",
            f"batch {recipe.batch}",
            f"learning rate {recipe.learning_rate:g}",
            f"seed {recipe.seed}",
            *([f"loss weights {','.join(map(str, recipe.loss_weights))}"] if recipe.loss_weights else []),
            *([f"distil {recipe.distil:g}"] if recipe.distil else []),
            *(["mirrored pictures"] if recipe.mirror else []),
            *([f"shift {recipe.shift}"] if recipe.shift else []),
        )
    )


def _matrix(names: Sequence[str], values: Coefficients) -> Iterator[str]:
    rows = zip(names, values, strict=True)
    return _table(("", *names), [(name, *("-" if one is None else f"{one:.2f}" for one in row)) for name, row in rows])


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
