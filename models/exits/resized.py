"""Pictures in memory as a network wants them: scaled and cropped when they are asked for."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.exits.examples import Examples, InMemory, Rows
from models.pictures import picture_tensor
from schemas.model import Preprocess


class Resized:
    """A data set of pictures of another size; one of the right size is passed through.

    Args:
        data: with pictures uint8 [n, height, width, 3].
        size: shorter side after scaling, and side of the crop.
    """

    def __init__(self, data: InMemory, size: tuple[int, int]) -> None:
        self._data = data
        self._preprocess = Preprocess(resize=size[0], crop=size[1])
        self._as_it_is = data.inputs.shape[1:3] == (size[1], size[1]) and size[0] == size[1]
        self.labels, self.classes, self.held_out = data.labels, data.classes, data.held_out

    def batch(self, rows: Rows) -> Examples:
        """uint8 [n, crop, crop, 3]."""
        given = self._data.batch(rows)
        if self._as_it_is:
            return given
        return np.concatenate([picture_tensor(Image.fromarray(one), self._preprocess) for one in given])
