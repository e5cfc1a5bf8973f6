"""Large weights live outside the graph as blobs: how an initializer names its blob, and how it is read back.

A placeholder is ONNX's own external-data form with the blob's SHA-256 as the file name, so ONNX Runtime maps the
blob straight from the store's folder. Bytes are little-endian, as `raw_data` is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from pydantic import ValidationError

from models.proto import numpy_name
from schemas.model import Blob, TensorSpec
from schemas.tensors import as_dtype

BLOB_THRESHOLD_BYTES: Final = 16 << 10
"""Smaller initializers stay in the graph blob: a request each would cost more than their bytes."""

_SHA: Final = re.compile(r"[0-9a-f]{64}")


class PlaceholderError(ValueError):
    """An initializer whose reference to a blob is malformed or does not fit its shape."""


@dataclass(frozen=True)
class Weight:
    """One initializer that lives in a blob."""

    spec: TensorSpec
    sha256: str


def externalise(graph: onnx.GraphProto, add: Callable[[bytes], Blob]) -> dict[str, Blob]:
    """Move every large initializer into a blob and leave a placeholder; returns blobs by initializer name.

    Args:
        graph: changed in place; nothing in it may be external yet.
        add: stores bytes and says under which hash.
    """
    blobs: dict[str, Blob] = {}
    for tensor in graph.initializer:
        dtype = as_dtype(numpy_name(tensor.data_type))
        if dtype is None or not tensor.name or len(tensor.name) > 512 or len(tensor.dims) > 8:
            continue
        raw = _raw_bytes(tensor)
        if len(raw) < BLOB_THRESHOLD_BYTES:
            continue
        blobs[tensor.name] = blob = add(raw)
        refer(tensor, blob)
    return blobs


def refer(tensor: TensorProto, blob: Blob) -> None:
    """Turn an initializer into a placeholder for `blob`."""
    slim = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    slim.data_location = TensorProto.EXTERNAL
    for key, value in (("location", blob.sha256), ("offset", "0"), ("length", str(blob.nbytes))):
        entry = slim.external_data.add()
        entry.key, entry.value = key, value
    tensor.CopyFrom(slim)


def placeholder(tensor: TensorProto) -> Weight | None:
    """The blob an initializer stands for, or None when it carries its own data.

    Raises:
        PlaceholderError: an external reference that is not to a whole blob of the right size. Nothing is opened.
    """
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    sha = entries.get("location", "")
    dtype = as_dtype(numpy_name(tensor.data_type))
    if not _SHA.fullmatch(sha) or entries.get("offset", "0") != "0" or dtype is None:
        raise PlaceholderError(f"weight {tensor.name!r} points at {sha[:80]!r}, which is not a blob's hash")
    try:
        spec = TensorSpec(name=tensor.name, dtype=dtype, shape=tuple(tensor.dims))
    except ValidationError as error:
        raise PlaceholderError(f"weight {tensor.name[:80]!r} has an impossible shape or name") from error
    if entries.get("length") != str(spec.nbytes):
        raise PlaceholderError(
            f"weight {tensor.name!r} needs {spec.nbytes} bytes, its placeholder says {entries.get('length')}"
        )
    return Weight(spec, sha)


def _raw_bytes(tensor: TensorProto) -> bytes:
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    array = numpy_helper.to_array(tensor)
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
