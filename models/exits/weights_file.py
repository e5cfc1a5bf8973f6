"""A network's weights as plain arrays in an `.npz` file: nothing in it is code, and nothing is unpickled."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from models.bounded_npz import bounded_npz

_HEADER_MOST: Final = 4096
"""Bytes before the numbers of an array."""


class BadWeightsError(ValueError):
    """A file that does not hold this network's weights; says what is wrong with it."""


def save_weights(module: nn.Module, path: Path) -> str:
    """Write every parameter and buffer under its own name.

    Returns:
        SHA-256 of names, shapes and values, hexadecimal; `weights_sha256` gives it, too.
    """
    np.savez_compressed(path, **{name: value.detach().cpu().numpy() for name, value in module.state_dict().items()})
    return weights_sha256(module)


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a network of the same shape; in place.

    Raises:
        BadWeightsError: no such file, or another network's.
    """
    try:
        own = module.state_dict()
        most_bytes = sum(one.nbytes for one in own.values()) + _HEADER_MOST * len(own)
        with path.open("rb") as file:
            arrays = bounded_npz(file, most_bytes=most_bytes, most_arrays=len(own))
        module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise BadWeightsError(f"{path} does not hold this network's weights ({why}); train it again") from error


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 over every parameter and buffer in the order of their names, hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
