"""Reads `.onnx` files that nobody vouches for: checked, self-contained, and with static shapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from models.proto import NotAGraphError, parse, tensors


class NotOnnxError(ValueError):
    """A file that is no valid ONNX model."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is not an ONNX model that can be imported: {why}")


class DynamicShapeError(ValueError):
    """An input whose shape is open; says how to fix it."""


def read_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> onnx.ModelProto:
    """The model in a file, weights included, its first input's open dimensions taken from `input_shape`.

    An open batch dimension becomes 1.

    Raises:
        FileNotFoundError: there is no such file.
        NotOnnxError: not ONNX, invalid, or weights that lie outside the file's own folder.
        DynamicShapeError: open dimensions and no `input_shape`, or one that does not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        model = parse(path.read_bytes())
    except NotAGraphError as error:
        raise NotOnnxError(path, str(error)) from error
    folder = path.resolve().parent
    for tensor in _external(model):
        _check_location(path, folder, tensor)
    try:
        # By path, so that models beyond protobuf's 2 GB are checked too.
        onnx.checker.check_model(str(path))
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise NotOnnxError(path, str(error).strip().partition("\n")[0]) from error
    fix_shapes(model, input_shape)
    return model


def fix_shapes(model: onnx.ModelProto, input_shape: tuple[int, ...] | None) -> None:
    """Make every input's shape static, in place; shapes inferred from the old ones are forgotten.

    Raises:
        DynamicShapeError: see `read_onnx`.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    changed = False
    for i, value in enumerate(inputs):
        tensor = value.type.tensor_type
        if input_shape is not None and i == 0:
            changed |= _apply(value, input_shape)
            continue
        if not tensor.HasField("shape"):
            raise DynamicShapeError(f"input {value.name!r} has no shape at all; give --input-shape, e.g. 1x3x224x224")
        shape, example = _text(value), "x".join(_example(value))
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                continue
            if axis > 0:
                raise DynamicShapeError(
                    f"input {value.name!r} has shape {shape}; give the open sizes with --input-shape, e.g. {example}"
                )
            dim.Clear()
            dim.dim_value = 1
            changed = True
    if changed:
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")


def _apply(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> bool:
    tensor = value.type.tensor_type
    old = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    fits = len(old) == len(shape) and all(was in (0, new) for was, new in zip(old, shape, strict=True))
    if min(shape, default=1) < 1 or (tensor.HasField("shape") and not fits):
        raise DynamicShapeError(f"input {value.name!r} has shape {_text(value)}; {list(shape)} does not fit it")
    if old == list(shape):
        return False
    tensor.ClearField("shape")
    for size in shape:
        tensor.shape.dim.add().dim_value = size
    return True


def _external(model: onnx.ModelProto) -> Iterator[TensorProto]:
    graphs = [model.graph, *(onnx.GraphProto(node=function.node) for function in model.functions)]
    for graph in graphs:
        yield from (tensor for tensor in tensors(graph) if tensor.data_location == TensorProto.EXTERNAL)


def _check_location(path: Path, folder: Path, tensor: TensorProto) -> None:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    target = (folder / location).resolve()
    if not location or not target.is_relative_to(folder):
        raise NotOnnxError(path, f"weight {tensor.name!r} points outside the file's own folder ({location!r})")
    if not target.is_file():
        raise NotOnnxError(path, f"weight {tensor.name!r} should be in {location!r} beside it, which is not there")


def _text(value: onnx.ValueInfoProto) -> str:
    sizes = [str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in value.type.tensor_type.shape.dim]
    return f"[{','.join(sizes)}]"


def _example(value: onnx.ValueInfoProto) -> list[str]:
    dims = value.type.tensor_type.shape.dim
    return [str(dim.dim_value) if dim.dim_value > 0 else ("1" if axis == 0 else "224") for axis, dim in enumerate(dims)]
