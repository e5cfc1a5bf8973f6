"""The element types that may cross the wire, by name."""

from __future__ import annotations

from typing import Final, Literal, get_args

Dtype = Literal[
    "float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool"
]
ITEM_BYTES: Final[dict[str, int]] = {
    name: 1 if name == "bool" else int("".join(filter(str.isdigit, name))) // 8 for name in get_args(Dtype)
}


def as_dtype(name: str) -> Dtype | None:
    """The element type of that numpy name, or None when frames do not carry it."""
    return next((dtype for dtype in get_args(Dtype) if dtype == name), None)
