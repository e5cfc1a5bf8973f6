"""Labelled examples to train and validate on: read by the batch, split by a seed, never copied whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

Examples = np.ndarray[Any, np.dtype[Any]]
"""uint8 [n, height, width, 3] for pictures, float32 [n, ...] otherwise."""
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Indices of examples, or their labels."""

_VALIDATION: Final = 0.1
_HELD_OUT: Final = 0.3
_FEWEST: Final = 10


class BadDataError(ValueError):
    """Examples that cannot be used; the message says what is wrong with them and what is expected."""


class Dataset(Protocol):
    """Examples that may lie in memory or on the disk."""

    @property
    def labels(self) -> Rows:
        """Of every example, 0 to classes - 1."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def held_out(self) -> Rows:
        """Examples that whoever made the data set apart for testing; may be none."""
        ...

    def batch(self, rows: Rows) -> Examples:
        """These examples, in this order."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Examples that are all in one array."""

    inputs: Examples
    labels: Rows
    classes: tuple[str, ...]
    held_out: Rows

    @property
    def pictures(self) -> bool:
        """Whether they are pictures, uint8 [n, height, width, 3]."""
        return self.inputs.dtype == np.uint8

    def batch(self, rows: Rows) -> Examples:
        """These examples, in this order."""
        return self.inputs[rows]


class Renumbered:
    """The same examples under other label numbers: `numbers[label]` is what the network calls that class."""

    def __init__(self, data: Dataset, numbers: tuple[int, ...], classes: tuple[str, ...]) -> None:
        self._data = data
        self.labels: Rows = np.asarray(numbers, np.int64)[data.labels]
        self.classes = classes
        self.held_out = data.held_out

    def batch(self, rows: Rows) -> Examples:
        """These examples, in this order."""
        return self._data.batch(rows)


@dataclass(frozen=True)
class Split:
    """Which examples are for what, none for two things; each part in the data's own order.

    Weights are learned from `train`, thresholds chosen on `validation`, and `test` is only ever looked at afterwards.
    """

    train: Rows
    validation: Rows
    test: Rows


def split(data: Dataset, seed: int) -> Split:
    """Three parts, drawn by a seed: a tenth of what is not held out validates; where nothing is, 70/15/15. Pure.

    Raises:
        BadDataError: too few examples, or none of them to learn from.
    """
    free = np.setdiff1d(np.arange(len(data.labels)), data.held_out)
    drawn = np.random.default_rng(seed).permutation(free)
    if len(data.held_out):
        test, validation = data.held_out, drawn[: round(len(free) * _VALIDATION)]
        train = drawn[len(validation) :]
    else:
        held = drawn[: round(len(free) * _HELD_OUT)]
        test, validation, train = held[: len(held) // 2], held[len(held) // 2 :], drawn[len(held) :]
    parts = Split(np.sort(train), np.sort(validation), np.sort(test))
    for name, rows in (("to train on", parts.train), ("to validate on", parts.validation), ("to test on", parts.test)):
        if len(rows) < _FEWEST:
            raise BadDataError(f"{len(rows)} examples {name} are too few, of {len(data.labels)}; {_FEWEST} at least")
    return parts


def checked_labels(labels: Any, classes: int, where: str) -> Rows:
    """Labels as int64 [n].

    Raises:
        BadDataError: no whole numbers, or not from 0 to classes - 1.
    """
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        raise BadDataError(f"{where}: labels are whole numbers, one an example; these are {found.dtype}{found.shape}")
    wide = found.astype(np.int64)
    if wide.min() < 0 or wide.max() >= classes:
        raise BadDataError(f"{where}: labels from {wide.min()} to {wide.max()} do not name {classes} classes (0 first)")
    return wide
