"""Handwritten digits, 8 x 8: a data set that comes inside a package, so that nothing is downloaded.

They are from the UCI repository ("Optical Recognition of Handwritten Digits", Alpaydin and Kaynak, 1998), as
scikit-learn ships them.
"""

from __future__ import annotations

import numpy as np

from models.exits.examples import BadDataError, InMemory


def read_digits() -> InMemory:
    """1797 pictures uint8 [8, 8, 3] of the digits 0 to 9, light on dark.

    Raises:
        BadDataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise BadDataError("the digits come with scikit-learn: pip install scikit-learn") from error
    found = load_digits()
    # 0 to 16 there: 16 becomes 255.
    grey = np.minimum(found.images * 16, 255).astype(np.uint8)
    pictures = np.repeat(grey[..., np.newaxis], 3, axis=3)
    return InMemory(pictures, found.target.astype(np.int64), tuple(map(str, range(10))), np.array([], np.int64))
