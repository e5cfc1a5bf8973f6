"""`infer`: pictures and arrays, one or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from stageline.client import Client

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import House


def test_infer_shows_label_probability_latency_and_route(served: House, picture: Path) -> None:
    result = served.invoke("infer", picture, "--receipts", "--top", 2)
    assert result.exit_code == 0, result.output
    for words in ("red.png", "ant", "r0: pi4[0:1)", "1 answered, 0 failed", "compute ms"):
        assert words in result.stdout
    document = served.json("infer", picture)
    assert document["results"][0]["label"] == "ant"
    assert document["results"][0]["receipt"]["stages"][0]["device"] == "pi4"
    assert document["summary"]["failed"] == 0
    assert document["audit"]["lost"] == 0


def test_one_unreadable_picture_among_many_fails_alone(served: House, picture: Path) -> None:
    (picture.parent / "broken.jpg").write_bytes(b"no picture")
    (picture.parent / "notes.txt").write_text("not looked at")
    for index in range(4):
        Image.new("RGB", (9, 9), (0, 60 * index, 0)).save(picture.parent / f"{index}.png")
    document = served.json("infer", picture.parent, code=1)
    failed = [one["file"] for one in document["results"] if "error" in one]
    assert failed == [str(picture.parent / "broken.jpg")]
    assert document["summary"]["answered"] == 5
    assert "cannot be read" in served.invoke("infer", picture.parent).stdout


def test_infer_takes_saved_arrays_refuses_wrong_shapes_and_saves_outputs(served: House, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.full((1, 8, 8, 3), 9, np.uint8))
    np.savez(tmp_path / "named.npz", x=np.full((8, 8, 3), 9, np.uint8))
    np.save(tmp_path / "wrong.npy", np.zeros((2, 2), np.float32))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    document = served.json("infer", tmp_path, "--save", tmp_path / "out", "--deployment", "pictures", code=1)
    by_name = {Path(one["file"]).name: one for one in document["results"]}
    assert {name for name, one in by_name.items() if "error" not in one} == {"good.npy", "named.npz"}
    assert "expected x uint8[1x8x8x3], given float32[2x2]" in by_name["wrong.npy"]["error"]
    with np.load(by_name["good.npy"]["saved"]) as saved:
        assert saved["y"].shape == (1, 4)


def test_infer_says_what_to_do_without_deployments_or_pictures(
    house: House, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = house.invoke("infer", picture)
    assert nothing.exit_code == 2
    assert "stageline deploy" in nothing.stderr
    (tmp_path / "empty").mkdir()
    assert house.invoke("infer", tmp_path / "empty").exit_code == 2
    missing = house.invoke("infer", picture, tmp_path / "nofile.jpg")
    assert missing.exit_code == 2
    assert "nofile.jpg" in missing.stderr
    monkeypatch.setattr(Client, "ready", None)  # nothing is waited for
    unknown = house.invoke("infer", picture, "--deployment", "unknown")
    assert unknown.exit_code == 2
    assert "nothing is deployed as 'unknown'" in unknown.stderr
