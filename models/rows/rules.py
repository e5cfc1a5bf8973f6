"""One rule for each kind of operator: what becomes of the rows.

Each takes a node (`Given`), and raises RowsError with the end of a sentence that begins with the operator.
"""

from __future__ import annotations

from models.rows.chain import Reach, RowsError
from models.rows.given import Divided, Given, padding, window


def keep(given: Given) -> Divided:
    """One number after the other, broadcast as numpy does."""
    rank = max(len(given.shapes[name]) for name in given.node.input if name)
    places = {axis - len(given.shapes[name]) for name, axis in given.rows.items()}
    heights = {given.shapes[name][axis] for name, axis in given.rows.items()}
    [place] = places if len(places) == 1 else [0]
    if not place or len(heights) > 1:
        raise RowsError("combines tensors whose rows differ")
    for name in given.node.input:
        shape = given.shapes[name] if name else ()
        if name not in given.rows and len(shape) >= -place and shape[place] != 1:
            raise RowsError("has a constant that differs from row to row")
    return Divided(rank + place)


def first_only(given: Given) -> Divided:
    """Each element by itself; settings besides."""
    return Divided(given.only_first())


def channels(given: Given) -> Divided:
    """Works on each place by itself, with constants per channel (axis 1)."""
    axis = given.only_first()
    if axis < 2:
        raise RowsError("works along the rows")
    if given.attributes.get("training_mode"):
        raise RowsError("needs all rows")
    return Divided(axis)


def slides(given: Given) -> Divided:
    """A convolution or pooling."""
    if given.only_first() != 2 or len(given.shape) < 3:
        raise RowsError("slides along another axis than the rows")
    if any(given.node.output[1:]):
        raise RowsError("says where in the whole picture it found its values")
    sliding = window(given)
    return Divided(2, sliding.reach, (*sliding.begin, *sliding.end))


def pad(given: Given) -> Divided:
    """More rows, of a constant."""
    axis, pads = given.only_first(), padding(given)
    if (pads[axis] or pads[len(given.shape) + axis]) and given.attributes.get("mode", b"constant") != b"constant":
        raise RowsError("fills its padding from other rows")
    return Divided(axis, Reach(before=pads[axis]), tuple(pads))


def along(given: Given) -> Divided:
    """Works along one attribute's axis (Concat, Split): any but the rows."""
    axes = {axis for name, axis in given.rows.items() if name in given.node.input}
    along = given.attributes.get("axis", 0) % len(given.shape)
    if set(filter(None, given.node.input[: _data(given)])) != set(given.rows) or len(axes) != 1:
        raise RowsError("combines tensors whose rows differ")
    if len({given.shapes[name][axis] for name, axis in given.rows.items()}) > 1 or along in axes:
        raise RowsError("works along the rows")
    return Divided(axes.pop())


def _data(given: Given) -> int:
    """How many inputs hold data, the first ones: a Split's second is sizes."""
    return 1 if given.node.op_type == "Split" else len(given.node.input)


def normalised_exponentials(given: Given) -> Divided:
    """Softmax and its logarithm."""
    axis, rank = given.only_first(), len(given.shape)
    along = given.attributes.get("axis", -1 if given.opset >= 13 else 1) % rank
    # Before opset 13 all axes from that one on were taken as one.
    if axis == along or (given.opset < 13 and axis > along):
        raise RowsError("works along the rows")
    return Divided(axis)


def layer_norm(given: Given) -> Divided:
    """Over the last axes."""
    axis = given.only_first()
    if axis >= given.attributes.get("axis", -1) % len(given.shape):
        raise RowsError("needs all rows")
    return Divided(axis)


def reduce(given: Given) -> Divided:
    """Over axes that are not rows."""
    axis, rank = given.only_first(), len(given.shape)
    axes = given.listed("axes", 1)
    if axes is None or not len(axes) or axis in (over := {one % rank for one in axes}):
        raise RowsError("needs all rows")
    return Divided(axis if given.attributes.get("keepdims", 1) else axis - sum(one < axis for one in over))


def transpose(given: Given) -> Divided:
    """Rows move."""
    perm = given.attributes.get("perm") or list(reversed(range(len(given.shape))))
    return Divided(list(perm).index(given.only_first()))


def slice_(given: Given) -> Divided:
    """Of other axes."""
    axis = given.only_first()
    axes, starts = given.listed("axes", 3), given.listed("starts", 1)
    places = range(len(starts or ())) if axes is None else [one % len(given.shape) for one in axes]
    if axis in places:
        raise RowsError("picks rows")
    return Divided(axis)


def gather(given: Given) -> Divided:
    """From another axis."""
    axis, along = given.only_first(), given.attributes.get("axis", 0) % len(given.shape)
    if axis == along:
        raise RowsError("picks rows")
    return Divided(axis if axis < along else axis + len(given.shapes[given.node.input[1]]) - 1)


def unsqueeze(given: Given) -> Divided:
    """Rows may move up."""
    axes = given.listed("axes", 1) or ()
    rank = len(given.shape) + len(axes)
    kept = sorted(set(range(rank)) - {axis % rank for axis in axes})
    return Divided(kept[given.only_first()])


def squeeze(given: Given) -> Divided:
    """Rows may move down."""
    axis, axes = given.only_first(), given.listed("axes", 1)
    if axes is None or axis in (gone := {one % len(given.shape) for one in axes}):
        raise RowsError("may take the rows away")
    return Divided(axis - sum(one < axis for one in gone))


def matmul(given: Given) -> Divided:
    """The last axis through a matrix of constants."""
    axis = given.only_first()
    if axis == len(given.shape) - 1 or len(given.shapes[given.node.input[1]]) != 2:
        raise RowsError("works along the rows")
    return Divided(axis)
