"""What exits say of validation examples, on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.exits.measured import BadMeasurementError, Measured

SURE = np.array([[0.5, 0.9], [0.25, 1.0]], np.float32)
RIGHT = np.array([[True, True], [False, True]])


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    Measured(SURE, RIGHT).save(tmp_path / "m.npz")
    found = Measured.load(tmp_path / "m.npz")
    assert np.array_equal(found.confidence, SURE)
    assert np.array_equal(found.correct, RIGHT)
    assert (found.exits, found.accuracy) == (1, (0.5, 1.0))


@pytest.mark.parametrize(
    "arrays",
    [
        {"confidence": SURE},
        {"confidence": SURE, "correct": RIGHT[:1]},
        {"confidence": SURE * 2, "correct": RIGHT},
        {"confidence": SURE.astype(np.float64), "correct": RIGHT},
        {"confidence": SURE * np.float32("nan"), "correct": RIGHT},
        {"confidence": SURE[:, :1], "correct": RIGHT[:, :1]},
        {"confidence": SURE[:0], "correct": RIGHT[:0]},
        {"confidence": np.array([[{}]], object), "correct": RIGHT},
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(BadMeasurementError, match="holds no confidences"):
        Measured.load(tmp_path / "m.npz")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadMeasurementError):
        Measured.load(tmp_path / "m.npz")
