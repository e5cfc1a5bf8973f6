"""The command that trains a network once more, as its training card says, with some of its exits only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from models.exits.training_card import TrainingCard


def train_again(card: TrainingCard, kept: Sequence[int]) -> str:
    """What to type to train as `card` was, with the exits at the positions `kept`; for a shell. Pure.

    All that the card records and an option says is written out, what is usual too: which learning rate is usual depends
    on other options. DIR is left to be named, and thresholds to be chosen anew: those of the card belong to its heads.
    """
    recipe = card.recipe
    weights = recipe.loss_weights
    said: dict[str, object] = {
        "--data": card.data,
        "--at": ",".join(str(card.exits[one].block) for one in kept),
        "--epochs": recipe.epochs,
        "--batch": recipe.batch,
        "--learning-rate": recipe.learning_rate,
        # The last one is of the network's own end.
        "--loss-weights": ",".join(str(weights[one]) for one in (*kept, -1)) if weights else None,
        "--distil": recipe.distil,
        "--head-width": card.head_width,
        "--shift": recipe.shift,
        "--name": card.name,
        "--weights": card.weights,
        "--input-shape": "x".join(map(str, card.input_shape)) or None,
        "--seed": recipe.seed,
        "--device": card.trained_on.partition(",")[0],
    }
    words = [word for option, value in said.items() if value is not None for word in (option, str(value))]
    flags = ["--mirror" if recipe.mirror else "--no-mirror", *(["--heads-only"] if recipe.frozen else [])]
    return shlex.join(["stageline", "exits", "train", card.backbone, *words, *flags, "--out", "DIR"])
