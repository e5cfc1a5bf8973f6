"""What may be handed over: pictures and arrays of numbers, of sane size. Nothing is unpickled to find out."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from schemas.base import InvalidNameError
from stageline import hand_over
from stageline.inputs import FileContent
from stageline.journal import intake
from stageline.journal.intake import UnfitFileError, read_file
from stageline.journal.store import Journal


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def test_pictures_and_arrays_are_taken_with_their_bytes(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "c.npz", x=np.zeros(3), y=np.ones(2, np.uint8))
    for name in ("a.png", "b.npy", "c.npz"):
        content = read_file(tmp_path / name)
        assert (content.name, content.data) == (name, (tmp_path / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", b"", "neither a picture"),
        ("a.png", b"not a picture", "neither a picture"),
        ("a.npy", b"\x93NUMPY", "magic|read"),
        ("a.npy", b"no array", "magic"),
        ("a.npz", b"PK\x03\x04 no zip", "zip"),
        ("a.npy", b"\x93NUMPY\x09\x00" + bytes(20), "version"),
    ],
)
def test_what_is_neither_is_refused_in_words(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnfitFileError, match=says):
        read_file(tmp_path / name)


def test_objects_are_refused_and_never_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "evil.npz", x=np.array([Evil()], dtype=object))
    for name in ("evil.npy", "evil.npz"):
        with pytest.raises(UnfitFileError, match="Python objects"):
            read_file(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "large.npy").write_bytes(file.getvalue())
    with pytest.raises(UnfitFileError, match="more than the file holds"):
        read_file(tmp_path / "large.npy")


def test_an_archive_that_unpacks_to_too_much_is_refused_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x.npy", "y.npy"):
            with archive.open(name, "w") as member:
                for _ in range(150):
                    member.write(bytes(1_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 1_000_000
    with pytest.raises(UnfitFileError, match="unpacks to more than"):
        read_file(tmp_path / "bomb.npz")


def test_a_file_that_fits_no_frame_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_FILE_BYTES", 100)
    (tmp_path / "a.png").write_bytes(bytes(101))
    with pytest.raises(UnfitFileError, match="larger than"):
        read_file(tmp_path / "a.png")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/zero")):
        with pytest.raises(UnfitFileError, match="no such file"):
            read_file(path)


def test_a_program_hands_over_a_file_or_its_content(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    first = hand_over(tmp_path / "j", "cats", tmp_path / "a.png", request="door-1")
    again = hand_over(tmp_path / "j", "cats", FileContent("a.png", (tmp_path / "a.png").read_bytes()), request="door-1")
    other = hand_over(str(tmp_path / "j"), "cats", str(tmp_path / "a.png"))
    assert first == again == "door-1" != other
    with Journal(tmp_path / "j") as journal:
        assert [one.open for one in journal.tallies()] == [2]
    with pytest.raises(UnfitFileError):
        hand_over(tmp_path / "j", "cats", FileContent("a.png", b"nothing"))
    with pytest.raises(InvalidNameError):
        hand_over(tmp_path / "j", "cats/dogs", tmp_path / "a.png")
