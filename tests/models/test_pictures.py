"""Picture files of every kind become the u8 tensor that models take, or one clear error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from models.catalog import LITE
from models.library import Library
from models.pictures import UnreadablePictureError, is_picture, load_picture
from models.runtime import load_stage
from schemas.model import ModelCard, Preprocess

SMALL = Preprocess(resize=8, crop=8)
EXAMPLES = Path(skimage.__file__).parent / "data"


@pytest.mark.parametrize(
    ("file", "label", "probability"),
    [
        ("chelsea.png", "Egyptian cat", 0.38),
        ("coffee.png", "espresso", 0.96),
        ("rocket.jpg", "missile", 0.37),
        ("motorcycle_left.png", "moped", 0.58),
    ],
)
def test_real_pictures_get_their_labels_from_lite0(
    file: str, label: str, probability: float, library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported(LITE)
    assert card.preprocess is not None
    stage = load_stage(card, library.blobs, 0, len(card.blocks))
    answer = stage.run({card.inputs[0].name: load_picture(EXAMPLES / file, card.preprocess)})[card.outputs[0].name]
    logits = answer[0].astype(np.float64)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert card.labels[int(shares.argmax())] == label
    assert shares.max() == pytest.approx(probability, abs=0.01)


def test_a_picture_is_u8_with_a_batch_of_one(tmp_path: Path) -> None:
    Image.new("RGB", (20, 30), (10, 20, 30)).save(tmp_path / "p.png")
    picture = load_picture(tmp_path / "p.png", SMALL)
    assert picture.dtype == np.uint8
    assert picture.shape == (1, 8, 8, 3)
    assert picture[0, 4, 4].tolist() == [10, 20, 30]
    assert picture.flags.c_contiguous


def test_the_centre_is_kept(tmp_path: Path) -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert load_picture(tmp_path / "wide.png", SMALL).min() == 255


def test_a_crop_larger_than_the_picture_is_padded_with_black(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "p.png")
    picture = load_picture(tmp_path / "p.png", Preprocess(resize=4, crop=8))[0, :, :, 0]
    assert picture.sum() == 255 * 16
    assert picture[2:6, 2:6].min() == 255


def test_a_camera_held_sideways_is_turned_upright(tmp_path: Path) -> None:
    top_red = Image.new("RGB", (16, 16), (255, 0, 0))
    top_red.paste((0, 0, 255), (0, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    top_red.save(tmp_path / "turned.png", exif=exif)
    picture = load_picture(tmp_path / "turned.png", SMALL)
    assert picture[0, 0, 4].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F", "YCbCr"])
def test_pictures_of_every_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    white = {"I;16": 65535, "I": 65535, "F": 255.0, "CMYK": (0, 0, 0, 0), "P": 0, "YCbCr": (255, 128, 128)}
    picture = Image.new(mode, (8, 8), white.get(mode, 1 if mode == "1" else "white"))
    if mode == "P":
        picture.putpalette([255, 255, 255])
    path = tmp_path / ("p.tiff" if mode in ("CMYK", "F", "I", "YCbCr") else "p.png")
    picture.save(path)
    assert load_picture(path, SMALL).min() >= 254


def test_what_is_transparent_shows_white_behind_it(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "p.png")
    assert load_picture(tmp_path / "p.png", SMALL).min() == 255


def test_a_very_thin_picture_does_not_become_a_very_large_one(tmp_path: Path) -> None:
    Image.new("L", (1, 5_000_000), 9).save(tmp_path / "p.png")
    picture = load_picture(tmp_path / "p.png", Preprocess(resize=1024, crop=224))
    assert picture.shape == (1, 224, 224, 3)
    assert picture.max() == picture.min() == 9


def damaged(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no picture format"),
        (b"this is text", "no picture format"),
        (damaged("png"), "cannot be read as a picture"),
        (damaged("jpeg"), "cannot be read as a picture"),
        (damaged("gif"), "cannot be read as a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "cannot be read as a picture"),
    ],
)
def test_a_file_that_is_no_picture_or_damaged_is_told_so(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(data)
    with pytest.raises(UnreadablePictureError, match=message):
        load_picture(path, SMALL)


def test_a_missing_file_and_a_folder_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePictureError, match="there is no such file"):
        load_picture(tmp_path / "gone.png", SMALL)
    with pytest.raises(UnreadablePictureError, match="directory"):
        load_picture(tmp_path, SMALL)


def test_a_small_file_that_claims_to_be_enormous_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb)
    with pytest.raises(UnreadablePictureError, match=r"60000 x 60000 pixels|decompression bomb"):
        load_picture(path, SMALL)


def test_pictures_are_told_by_their_names(tmp_path: Path) -> None:
    assert is_picture(tmp_path / "a.JPG")
    assert is_picture(Path("b.webp"))
    assert not is_picture(Path("c.npy"))
    assert not is_picture(Path("README"))
