"""From a picture file to the u8 tensor that picture models take."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.codec import Array
from schemas.model import Preprocess

MAX_PIXELS: Final = 100_000_000
"""A file of a few kilobytes can claim to be gigapixels; no camera's picture is larger than this."""

_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jfif"}
)


class UnreadablePictureError(ValueError):
    """A file that is no picture, or a damaged or oversized one."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be read as a picture: {why}")


def is_picture(path: Path) -> bool:
    """Whether the file's name looks like a picture's; nothing is opened."""
    return path.suffix.lower() in _SUFFIXES


def load_picture(path: Path, preprocess: Preprocess, content: bytes | None = None) -> Array:
    """A picture as the model wants it: upright, RGB, shorter side resized, centre cropped.

    Args:
        path: of the file.
        preprocess: as the model's card says.
        content: of the file, where it is at hand; `path` is then only its name.

    Returns:
        uint8 [1, crop, crop, 3].

    Raises:
        UnreadablePictureError: the file is missing, no picture, damaged, or has more than MAX_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's own, lower bound only warns; MAX_PIXELS is the one that counts here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path if content is None else BytesIO(content)) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise UnreadablePictureError(path, f"{opened.width} x {opened.height} pixels are too many")
                return picture_tensor(ImageOps.exif_transpose(opened), preprocess)
    except FileNotFoundError as error:
        raise UnreadablePictureError(path, "there is no such file") from error
    except UnidentifiedImageError as error:
        raise UnreadablePictureError(path, "it is in no picture format known here") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, UnreadablePictureError):
            raise
        raise UnreadablePictureError(path, str(error) or type(error).__name__) from error


def picture_tensor(picture: Image.Image, preprocess: Preprocess) -> Array:
    """An open picture as the model wants it: RGB, shorter side resized, centre cropped; uint8 [1, crop, crop, 3]."""
    return np.asarray(_resize_and_crop(_rgb(picture), preprocess), dtype=np.uint8)[np.newaxis]


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I;16") or picture.mode == "I":
        # 16-bit grey: Pillow's own conversion would clip at 255.
        grey = np.clip(np.asarray(picture, dtype=np.float32) / 257, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return picture.convert("RGB")


def _resize_and_crop(picture: Image.Image, preprocess: Preprocess) -> Image.Image:
    """As torchvision's Resize and CenterCrop: the longer side truncated, the crop padded with black where it must.

    Only what the crop shows is computed, so that a very thin picture does not become a very large one.
    """
    short, crop = preprocess.resize, preprocess.crop
    width, height = picture.size
    wide, high = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    left, top = round((wide - crop) / 2), round((high - crop) / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + crop, wide), min(top + crop, high)
    seen = (x0 * width / wide, y0 * height / high, x1 * width / wide, y1 * height / high)
    shown = picture.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=seen)
    if shown.size == (crop, crop):
        return shown
    padded = Image.new("RGB", (crop, crop))
    padded.paste(shown, (x0 - left, y0 - top))
    return padded
