"""A trained policy in a file: numbers in a `.npz`, and a header in JSON that says what they are for.

    header   JSON as bytes: `PolicyHeader`
    w0 b0 w1 b1 ...   the layers (`services.planner.learning.actor`), float32

Files come from anywhere, so reading one trusts nothing: it is never unpickled, sizes are bounded before anything is
unpacked, the header is checked like a message, and layers must fit together. What was trained for another model or
another fleet is refused with a reason, unless it is to be transferred.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, ValidationError

from models.bounded_npz import Arrays, BadArraysError, bounded_npz
from schemas.base import Cores, Count, Many, Message, Milliseconds, Name, NonNegative, Sha256, Text, first_mistake
from schemas.plan import Objective
from services.planner.errors import PlanningError
from services.planner.learning.actor import Actor, ActorShapeError
from services.planner.learning.arms import ARMS_MOST
from services.planner.learning.observation import FEATURES

LARGEST_BYTES: Final = 16 << 20
LAYERS_MOST: Final = 8


class PolicyFileError(PlanningError):
    """A file that holds no trained policy, or one that may not be used here; says why and what to do."""


class Member(Message):
    """One device of the fleet that a policy was trained on."""

    device: Name
    cores: Cores
    whole_ms: Milliseconds
    """The whole model there, by its profile."""


class PolicyHeader(Message):
    """What a trained policy is for, and where it is from."""

    stageline: Literal["policy"] = "policy"
    version: Literal[1] = 1
    model: Name
    card_sha: Sha256
    objective: Objective
    fleet: Annotated[Many[Member], Field(min_length=1, max_length=1024)]
    """In the order in which the planner sees them."""
    features: Many[Name]
    plans: Count
    """That are scored at once."""
    seed: Count
    steps: Count
    """Decisions it was trained with, those of `transferred` left out."""
    trained_s: NonNegative
    software: Text
    transferred: Sha256 | None = None
    """The policy file that training began from."""


@dataclass(frozen=True)
class TrainedPolicy:
    """What a file holds."""

    header: PolicyHeader
    actor: Actor
    sha256: str
    """Of the file."""


def save_policy(path: Path, header: PolicyHeader, actor: Actor) -> None:
    """Write a policy file; the name is taken as it is, whatever its ending."""
    arrays = {"header": np.frombuffer(header.model_dump_json(exclude_none=True).encode(), dtype=np.uint8)}
    for number, (weights, biases) in enumerate(actor.layers):
        arrays |= {f"w{number}": weights.astype(np.float32), f"b{number}": biases.astype(np.float32)}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs take the names for options


def load_policy(path: Path) -> TrainedPolicy:
    """Read a policy file.

    Raises:
        PolicyFileError: there is no such file, or it holds no policy that this stageline can use.
    """
    try:
        with path.open("rb") as file:
            size, data = os.fstat(file.fileno()).st_size, file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise PolicyFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > LARGEST_BYTES:
        raise _bad(path, f"it has {max(size, len(data)) >> 20} MB, more than any policy")
    arrays = _arrays(path, data)
    header = _header(path, arrays.pop("header", None))
    try:
        layers = tuple((arrays[f"w{number}"], arrays[f"b{number}"]) for number in range(len(arrays) // 2))
        if not layers or len(arrays) % 2 or any(one.dtype != np.float32 for one in arrays.values()):
            raise _bad(path, "it does not hold a float32 w0, b0, w1, b1, ...")
        actor = Actor(layers)
    except KeyError as error:
        raise _bad(path, f"{error.args[0]} is missing") from error
    except ActorShapeError as error:
        raise _bad(path, str(error)) from error
    return TrainedPolicy(header, actor, hashlib.sha256(data).hexdigest())


def _arrays(path: Path, data: bytes) -> Arrays:
    try:
        return bounded_npz(io.BytesIO(data), most_bytes=LARGEST_BYTES, most_arrays=2 * LAYERS_MOST + 1)
    except BadArraysError as error:
        raise _bad(path, str(error)) from error


def _header(path: Path, packed: np.ndarray | None) -> PolicyHeader:
    if packed is None or packed.dtype != np.uint8 or packed.ndim != 1:
        raise _bad(path, "it has no header")
    try:
        header = PolicyHeader.model_validate_json(packed.tobytes())
    except ValidationError as error:
        raise _bad(path, f"its header is wrong: {first_mistake(error)}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise _bad(path, "its header is no JSON") from error
    if header.features != FEATURES or header.plans != ARMS_MOST:
        raise _bad(path, "it was trained with another description of plans: train it anew with this stageline")
    return header


def _bad(path: Path, why: str) -> PolicyFileError:
    return PolicyFileError(f"{path} is no trained policy: {why}. `stageline learn train` makes them")
