"""A network of a few thousand weights for pictures of 8 x 8, and data for it: exits are trained in about a second."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from models.exits.examples import InMemory

FACTORIES = """
    from torch import nn
    from models.normalise import PictureInput

    PICTURE = PictureInput(resize=8, crop=8, mean=(0.5,) * 3, std=(0.25,) * 3)

    def layer(channels, out, stride=1):
        return nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        )

    def tiny(classes=10):
        net = nn.Sequential(
            layer(3, 8), layer(8, 16, 2), layer(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)
        )
        net.picture, net.input_shape = PICTURE, (1, 3, 8, 8)
        return net

    def five():
        return tiny(5)

    class TwoPaths(nn.Module):
        input_shape = (1, 3, 8, 8)
        picture = PICTURE

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.relu, self.end = nn.ReLU(inplace=True), nn.Linear(8, 10)

        def forward(self, pictures):
            x = self.relu(self.first(pictures))
            x = self.relu(self.second(x) + x)
            return self.end(x.mean(dim=(2, 3)))

    def plain():
        net = tiny()
        del net.picture
        return net
"""


def write_factories(folder: Path) -> Path:
    """A file with the functions `tiny` (10 classes), `five`, `TwoPaths` (a ReLU that runs twice) and `plain`."""
    path = folder / "tiny_nets.py"
    path.write_text(textwrap.dedent(FACTORIES), encoding="utf-8")
    return path


def easy_pictures(count: int, classes: int = 10, *, seed: int = 0, size: int = 8) -> InMemory:
    """Noise in which the class says which column or row is bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pictures = rng.integers(0, 160, (count, size, size, 3), np.uint8)
    for number, label in enumerate(labels):
        line = (slice(None), label // 2) if label % 2 else (label // 2, slice(None))
        pictures[number][line] = 255
    return InMemory(pictures, labels.astype(np.int64), tuple(f"c{n}" for n in range(classes)), np.array([], np.int64))


def write_jpegs(path: Path, data: InMemory) -> None:
    """The data as JPEG bytes one after the other, the last quarter of them not for training."""
    parts = []
    for one in data.inputs:
        into = io.BytesIO()
        Image.fromarray(one).save(into, "JPEG", quality=95, subsampling=0)
        parts.append(into.getvalue())
    np.savez(
        path,
        jpeg=np.frombuffer(b"".join(parts), np.uint8),
        offsets=np.cumsum([0, *map(len, parts)]),
        labels=data.labels.astype(np.uint8),
        train=np.arange(len(parts)) < len(parts) * 3 // 4,
        classes=np.array(data.classes),
    )


def write_folders(folder: Path, data: InMemory) -> None:
    """The data as PNG files, a sub-folder for each class."""
    for number, (picture, label) in enumerate(zip(data.inputs, data.labels, strict=True)):
        into = folder / data.classes[label]
        into.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(into / f"{number:04}.png")
