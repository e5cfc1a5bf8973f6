"""Data sets: what is read from files and folders, how it is split, and every way in which it can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_classifier import easy_pictures, write_folders, write_jpegs

from models.exits.examples import BadDataError, InMemory, Renumbered, split
from models.exits.folder_data import read_folder
from models.exits.picture_arrays import read_npz
from models.exits.resized import Resized
from models.pictures import UnreadablePictureError


@given(st.integers(150, 400), st.integers(0, 100), st.integers(0, 3))
def test_parts_do_not_overlap_and_leave_nothing_out(count: int, seed: int, held: int) -> None:
    held_out = np.arange(count - held * 10, count)
    data = InMemory(np.zeros((count, 2), np.float32), np.zeros(count, np.int64), ("a", "b"), held_out)
    parts = split(data, seed)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together) == list(range(count))
    if held:
        assert list(parts.test) == list(held_out)
    again = split(data, seed)
    assert np.array_equal(parts.train, again.train)
    assert len(parts.train) > len(parts.validation)


def test_too_few_examples_are_told() -> None:
    with pytest.raises(BadDataError, match="too few"):
        split(easy_pictures(30), 0)


def test_jpegs_in_one_file_are_read_with_those_that_are_held_out(tmp_path: Path) -> None:
    data = easy_pictures(40)
    write_jpegs(tmp_path / "data.npz", data)
    found = read_npz(tmp_path / "data.npz")
    assert found.inputs.shape == (40, 8, 8, 3)
    assert float(np.abs(found.inputs.astype(int) - data.inputs).mean()) < 15
    assert list(found.held_out) == list(range(30, 40))
    assert found.classes == data.classes
    assert np.array_equal(found.labels, data.labels)


def test_arrays_in_one_file_need_no_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", inputs=np.zeros((6, 4), np.float32), labels=np.arange(6) % 3)
    found = read_npz(tmp_path / "data.npz")
    assert not found.pictures
    assert found.classes == ("0", "1", "2")
    assert not len(found.held_out)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"labels": np.zeros(3, int)}, "it should hold"),
        ({"inputs": np.zeros((3, 2)), "labels": np.zeros(3, int)}, "float64"),
        ({"inputs": np.zeros((3, 2), np.float32), "labels": np.zeros(4, int)}, "3 examples and 4 labels"),
        ({"inputs": np.zeros((3, 2), np.float32), "labels": np.zeros(3)}, "whole numbers"),
        ({"inputs": np.zeros((3, 2), np.float32), "labels": np.array([0, 1, -1])}, "labels from -1"),
        ({"inputs": np.zeros((3, 2), np.float32), "labels": np.arange(3), "classes": ["a", "b"]}, "2 classes"),
        ({"inputs": np.zeros((3, 2), np.float32), "labels": np.arange(3), "train": np.zeros(3)}, "`train`"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([0, 20]), "labels": np.zeros(1, int)}, "offsets"),
        ({"jpeg": np.zeros(9, np.uint8), "offsets": np.array([0, 9]), "labels": np.zeros(1, int)}, "picture 0"),
        ({"inputs": np.array([{}], object), "labels": np.zeros(1, int)}, "cannot be read"),
    ],
)
def test_a_file_of_the_wrong_arrays_is_refused_in_words(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(BadDataError, match=says):
        read_npz(tmp_path / "data.npz")


def test_a_file_that_is_no_archive_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(BadDataError, match="cannot be read"):
        read_npz(tmp_path / "data.npz")
    with pytest.raises(BadDataError, match="cannot be read"):
        read_npz(tmp_path / "nothing.npz")


def test_a_folder_of_pictures_has_a_class_for_each_sub_folder(tmp_path: Path) -> None:
    data = easy_pictures(20, 4)
    write_folders(tmp_path, data)
    found = read_folder(tmp_path, (8, 8))
    assert found.classes == data.classes
    assert list(np.bincount(found.labels)) == [5] * 4
    [one] = found.batch(np.array([5]))
    assert one.shape == (8, 8, 3)
    assert np.array_equal(one, data.inputs[1])


def test_folders_train_and_test_are_kept_apart(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", easy_pictures(12, 3))
    write_folders(tmp_path / "val", easy_pictures(6, 3))
    found = read_folder(tmp_path, (8, 8))
    assert (len(found.labels), list(found.held_out)) == (18, list(range(12, 18)))
    assert found.classes == ("c0", "c1", "c2")


def _nothing(_folder: Path) -> None:
    pass


def _one_class(folder: Path) -> None:
    (folder / "cats").mkdir()


def _empty_class(folder: Path) -> None:
    write_folders(folder, easy_pictures(4, 2))
    (folder / "zebras").mkdir()


def _other_classes_to_test(folder: Path) -> None:
    write_folders(folder / "train", easy_pictures(12, 3))
    write_folders(folder / "test", easy_pictures(6, 2))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_nothing, "0 sub-folders"),
        (_one_class, "1 sub-folders"),
        (_empty_class, "zebras holds no pictures"),
        (_other_classes_to_test, "same classes; only one of them has c2"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_in_words(
    make: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(BadDataError, match=says):
        read_folder(tmp_path, (8, 8))


def test_a_damaged_picture_is_told_by_its_name_when_it_is_met(tmp_path: Path) -> None:
    write_folders(tmp_path, easy_pictures(4, 2))
    (tmp_path / "c0" / "0000.png").write_bytes(b"no picture")
    found = read_folder(tmp_path, (8, 8))
    with pytest.raises(UnreadablePictureError, match=r"0000\.png"):
        found.batch(np.array([0]))


def test_pictures_of_another_size_are_scaled_and_those_of_the_right_one_passed_through() -> None:
    data = easy_pictures(4)
    assert Resized(data, (16, 12)).batch(np.array([0, 3])).shape == (2, 12, 12, 3)
    assert np.array_equal(Resized(data, (8, 8)).batch(np.array([2])), data.inputs[2:3])
    wanted = np.asarray(Image.fromarray(data.inputs[0]).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(Resized(data, (16, 16)).batch(np.array([0]))[0], wanted)


def test_classes_may_have_other_numbers_in_the_network() -> None:
    data = Renumbered(easy_pictures(6, 3), (7, 0, 4), tuple("abcdefgh"))
    assert list(data.labels) == [7, 0, 4, 7, 0, 4]
    assert data.batch(np.array([1])).shape == (1, 8, 8, 3)
