"""Data sets by name: a folder of pictures, a torchvision data set, scikit-learn's digits, or arrays in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from models.exits.digits import read_digits
from models.exits.examples import BadDataError, Dataset, InMemory
from models.exits.folder_data import read_folder
from models.exits.picture_arrays import read_npz
from models.exits.resized import Resized
from models.torch_source import TorchModel

FORMS: Final = "folder:DIR, torchvision:CIFAR10:DIR, npz:FILE or digits"


def open_data(text: str, made: TorchModel, *, download: bool = False) -> Dataset:
    """The examples that a text names, as this network takes them.

    Args:
        text: one of `FORMS`. A folder has one sub-folder for each class (or `train` and `test` with such sub-folders).
        made: the network: pictures are scaled and cropped as it wants them.
        download: torchvision may fetch the data first.

    Raises:
        BadDataError: no such data, or they do not fit the network.
        models.pictures.UnreadablePictureError: a file that is no picture.
    """
    kind, _, rest = text.partition(":")
    if kind == "digits" and not rest:
        data: Dataset = read_digits()
    elif kind == "npz" and rest:
        data = read_npz(Path(rest))
    elif kind == "folder" and rest:
        data = read_folder(Path(rest), _crop(made, text))
    elif kind == "torchvision" and rest.count(":") >= 1:
        from models.exits.torchvision_data import read_torchvision  # noqa: PLC0415 - the others do without it

        name, _, folder = rest.partition(":")
        data = read_torchvision(name, Path(folder), _crop(made, text), download=download)
    else:
        raise BadDataError(f"no data {text!r}: write {FORMS}")
    if isinstance(data, InMemory) and data.pictures:
        data = Resized(data, _crop(made, text))
    _check(data, made, text)
    return data


def _crop(made: TorchModel, text: str) -> tuple[int, int]:
    if made.picture is None:
        raise BadDataError(
            f"{text} holds pictures, and the network does not say how a picture becomes its input: set `picture` on it "
            "(a models.normalise.PictureInput), or give arrays with npz:FILE"
        )
    return made.picture.resize, made.picture.crop


def _check(data: Dataset, made: TorchModel, text: str) -> None:
    first = data.batch(data.labels[:1] * 0)
    given, wanted = tuple(first.shape[1:]), tuple(made.example[0].shape[1:])
    if made.picture is not None:
        if first.dtype != np.uint8:
            raise BadDataError(
                f"{text}: `inputs` is {first.dtype} [n, {', '.join(map(str, given))}], and the network takes pictures: "
                "give them as uint8 [n, height, width, 3], 0 to 255, of any size; they are scaled and normalised here"
            )
        wanted = (wanted[1], wanted[2], wanted[0])
    if given != wanted:
        raise BadDataError(f"{text}: an example is {list(given)}, and the network takes {list(wanted)}")
    if len(data.classes) < 2:
        raise BadDataError(f"{text} has {len(data.classes)} classes; to tell apart there must be two at least")
