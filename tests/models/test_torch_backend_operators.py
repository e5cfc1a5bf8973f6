"""Every line of the torch backend's table answers as ONNX Runtime does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.runtime.checks import BackendError
from models.runtime.torch_module import build_module
from models.runtime.torch_ops import OPERATORS, UnsupportedOperatorError
from schemas.codec import Array


def real(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> NDArray[np.float32]:
    return np.abs(real(*shape)) + np.float32(0.1)


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


@dataclass(frozen=True)
class Case:
    """One node: its first input is fed, the others are constants unless `fed` says how many are fed."""

    operator: str
    inputs: Sequence[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    fed: int = 1
    outputs: int = 1

    def __str__(self) -> str:
        details = "-".join(f"{key}={value}" for key, value in self.attributes.items() if not isinstance(value, bytes))
        return f"{self.operator}-{self.opset}-{details}".replace(" ", "")[:60]


def graph_of(case: Case) -> onnx.ModelProto:
    names = ["" if array is None else f"i{i}" for i, array in enumerate(case.inputs)]
    outputs = [f"o{i}" for i in range(case.outputs)]
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in list(zip(names, case.inputs, strict=True))[case.fed :]
        if array is not None
    ]
    fed = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in list(zip(names, case.inputs, strict=True))[: case.fed]
        if array is not None
    ]
    graph = helper.make_graph(
        [helper.make_node(case.operator, names, outputs, "the-node", **case.attributes)],
        "one",
        fed,
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(model)
    # Shapes are left to ONNX Runtime: a made-up one would have to be right.
    for value in inferred.graph.output:
        value.type.tensor_type.ClearField("shape")
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return inferred


def answers(case: Case) -> tuple[list[Any], list[Any]]:
    """ONNX Runtime's outputs and ours."""
    model = graph_of(case)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {f"i{i}": array for i, array in enumerate(case.inputs[: case.fed]) if array is not None}
    with torch.inference_mode():
        made = build_module(model)(*(torch.from_numpy(array) for array in feeds.values()))
    return session.run(None, feeds), [tensor.numpy() for tensor in made]


def agree(case: Case) -> None:
    expected, given = answers(case)
    for one, other in zip(expected, given, strict=True):
        assert other.dtype == one.dtype
        assert other.shape == one.shape
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


PICTURE = real(1, 4, 9, 8)

CONVOLUTIONS = [
    Case("Conv", [PICTURE, real(6, 4, 3, 3), real(6)], {"pads": [1, 1, 1, 1]}),
    Case("Conv", [PICTURE, real(6, 4, 3, 3)], {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    Case("Conv", [PICTURE, real(8, 1, 3, 3), real(8)], {"group": 4, "dilations": [2, 2]}),
    Case("Conv", [PICTURE, real(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("Conv", [PICTURE, real(6, 4, 2, 2)], {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
    Case("Conv", [PICTURE, real(6, 4, 2, 2)], {"auto_pad": "VALID"}),
    Case("Conv", [real(1, 4, 9), real(6, 4, 3)], {"pads": [1, 0]}),
    Case("Conv", [real(1, 2, 4, 5, 6), real(3, 2, 2, 2, 2)], {}),
    Case("ConvTranspose", [PICTURE, real(4, 6, 3, 3), real(6)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("ConvTranspose", [PICTURE, real(4, 3, 3, 3)], {"group": 2, "strides": [2, 2], "output_padding": [1, 1]}),
    Case("ConvTranspose", [PICTURE, real(4, 6, 3, 3)], {"strides": [2, 2], "pads": [0, 1, 1, 0]}),
    Case("ConvTranspose", [PICTURE, real(4, 6, 3, 3)], {"strides": [2, 2], "output_shape": [18, 17]}),
    Case("ConvTranspose", [PICTURE, real(4, 6, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
]

POOLS = [
    Case("MaxPool", [PICTURE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", [PICTURE], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", [PICTURE], {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1], "strides": [2, 3], "ceil_mode": 1}),
    Case("MaxPool", [PICTURE], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("MaxPool", [PICTURE], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    Case("MaxPool", [real(1, 4, 9)], {"kernel_shape": [3]}),
    Case("AveragePool", [PICTURE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    Case("AveragePool", [PICTURE], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    Case("AveragePool", [PICTURE], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, opset=19),
    Case("AveragePool", [PICTURE], {"kernel_shape": [3, 2], "pads": [0, 1, 1, 0], "strides": [2, 2]}),
    Case("AveragePool", [PICTURE], {"kernel_shape": [3, 2], "pads": [0, 1, 1, 0], "count_include_pad": 1}),
    Case("AveragePool", [PICTURE], {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    Case("GlobalAveragePool", [PICTURE]),
    Case("GlobalMaxPool", [PICTURE]),
]

NORMS_AND_PRODUCTS = [
    Case("BatchNormalization", [PICTURE, real(4), real(4), real(4), positive(4)], {"epsilon": 1e-3}),
    Case("LayerNormalization", [real(1, 5, 6), real(6), real(6)], {"epsilon": 1e-6}),
    Case("LayerNormalization", [real(1, 5, 6), real(5, 6)], {"axis": 1}),
    Case("InstanceNormalization", [PICTURE, real(4), real(4)]),
    Case("GroupNormalization", [PICTURE, real(4), real(4)], {"num_groups": 2}, opset=21),
    Case("LRN", [PICTURE], {"size": 3, "alpha": 0.01, "beta": 0.6, "bias": 2.0}),
    Case("Gemm", [real(2, 5), real(5, 3), real(3)], {}),
    Case("Gemm", [real(5, 2), real(3, 5), real(2, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", [real(2, 5), real(5, 3)], {"alpha": 0.5}),
    Case("MatMul", [real(2, 3, 4), real(4, 5)]),
    Case("Einsum", [real(2, 3), real(3, 4)], {"equation": "ij,jk->ki"}),
]

SHAPES = [
    Case("Reshape", [real(2, 3, 4), whole(0, -1)]),
    Case("Reshape", [real(2, 3, 4), whole(4, 6)], fed=2),
    Case("Flatten", [real(2, 3, 4)], {"axis": 2}),
    Case("Flatten", [real(2, 3, 4)], {"axis": -1}),
    Case("Transpose", [real(2, 3, 4)], {"perm": [1, 2, 0]}),
    Case("Transpose", [real(2, 3, 4)]),
    Case("Squeeze", [real(1, 3, 1), whole(0)]),
    Case("Squeeze", [real(1, 3, 1)]),
    Case("Squeeze", [real(1, 3, 1)], {"axes": [-1]}, opset=11),
    Case("Unsqueeze", [real(2, 3), whole(0, -1)]),
    Case("Unsqueeze", [real(2, 3)], {"axes": [1]}, opset=11),
    Case("Expand", [real(3, 1), whole(2, 1, 4)]),
    Case("Tile", [real(2, 3), whole(2, 2)]),
    Case("Concat", [real(2, 3), real(2, 2)], {"axis": -1}, fed=2),
    Case("Split", [real(1, 7), whole(3, 4)], {"axis": 1}, outputs=2),
    Case("Split", [real(1, 7)], {"axis": 1, "num_outputs": 3}, outputs=3),
    Case("Split", [real(1, 6)], {"axis": 1}, opset=13, outputs=3),
    Case("Split", [real(1, 7)], {"axis": 1, "split": [2, 5]}, opset=11, outputs=2),
    Case("Slice", [real(5, 6), whole(1, -2), whole(2**60, 2**60), whole(0, 1)]),
    Case("Slice", [real(5, 6), whole(4, 1), whole(-(2**60), 6), whole(0, 1), whole(-2, 2)]),
    Case("Slice", [real(5, 6), whole(3), whole(1), whole(0)]),
    Case("Slice", [real(5, 6)], {"starts": [1], "ends": [-1], "axes": [1]}, opset=9),
    Case("Gather", [real(5, 6), whole(0, -1)], {"axis": 1}),
    Case("Gather", [real(5, 6), np.array(2, np.int64)]),
    Case("Gather", [real(5, 6), np.array([[0, 1], [2, 3]], np.int32)], {"axis": -1}),
    Case("GatherElements", [real(2, 3), np.array([[0, -1]], np.int64)], {"axis": 1}),
    Case("GatherND", [real(2, 3, 4), np.array([[0, 1], [1, -1]], np.int64)]),
    Case("ScatterND", [real(4, 3), np.array([[0], [2]], np.int64), real(2, 3, seed=2)]),
    Case("ScatterND", [real(4, 3), np.array([[1], [1]], np.int64), real(2, 3, seed=2)], {"reduction": "add"}),
    Case("Pad", [PICTURE, whole(0, 0, 1, 2, 0, 1, 0, -1), np.array(0.5, np.float32)]),
    Case("Pad", [PICTURE, whole(0, 0, 1, 2, 0, 0, 3, 1)], {"mode": "reflect"}),
    Case("Pad", [PICTURE, whole(2, 1), None, whole(-1)], {"mode": "edge"}),
    Case("Pad", [PICTURE], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 2.0}, opset=9),
    Case("Shape", [real(2, 3, 4)], {"start": 1}),
    Case("ConstantOfShape", [whole(2, 3)], {"value": numpy_helper.from_array(np.array([7], np.int64))}),
    Case("Range", [np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)], fed=3),
    Case("DepthToSpace", [real(1, 8, 2, 3)], {"blocksize": 2}),
    Case("DepthToSpace", [real(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", [real(1, 2, 4, 6)], {"blocksize": 2}),
    Case("Trilu", [real(4, 5), np.array(1, np.int64)]),
    Case("Trilu", [real(4, 5)], {"upper": 0}),
]

ELEMENTS = [
    *(Case(name, [real(3, 4)]) for name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity")),
    *(Case(name, [real(3, 4)]) for name in ("Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin")),
    *(Case(name, [real(3, 4)]) for name in ("Softplus", "Softsign", "Tan", "Tanh", "Mish", "Atan", "IsNaN")),
    *(Case(name, [positive(3, 4)]) for name in ("Log", "Sqrt")),
    *(
        Case(name, [real(3, 4), real(1, 4, seed=2)])
        for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
    ),
    *(Case(name, [real(3, 4), real(3, 4, seed=2)]) for name in ("Equal", "Greater", "GreaterOrEqual", "Less")),
    *(Case(name, [real(3, 4) > 0, real(3, 4, seed=2) > 0]) for name in ("And", "Or", "Xor")),
    Case("LessOrEqual", [real(3, 4), real(3, 4)]),
    Case("Not", [real(3, 4) > 0]),
    Case("Where", [real(3, 4) > 0, real(3, 4), real(4)]),
    Case("Div", [np.array([7, -7, 9], np.int64), whole(2, 2, -4)]),
    Case("Pow", [positive(3, 4), np.array(2, np.int64)]),
    Case("Mod", [np.array([7, -7], np.int64), whole(3, 3)]),
    Case("Mod", [real(5), positive(5)], {"fmod": 1}),
    Case("Clip", [real(3, 4), np.array(0, np.float32), np.array(0.5, np.float32)]),
    Case("Clip", [real(3, 4), None, np.array(0.5, np.float32)]),
    Case("Clip", [real(3, 4), np.array(0, np.float32), np.array(0.5, np.float32)], fed=3),
    Case("Clip", [real(3, 4)], {"min": -0.5}, opset=9),
    Case("Cast", [real(3, 4) * 5], {"to": onnx.TensorProto.INT32}),
    Case("Cast", [np.arange(5, dtype=np.uint8)], {"to": onnx.TensorProto.FLOAT}),
    Case("CastLike", [real(3), whole(1)]),
    Case("Dropout", [real(3, 4), np.array(0.5, np.float32)]),
    Case("Elu", [real(3, 4)], {"alpha": 0.5}),
    Case("Celu", [real(3, 4)], {"alpha": 0.5}),
    Case("Selu", [real(3, 4)]),
    Case("PRelu", [real(1, 4, 3), real(4, 1)]),
    Case("LeakyRelu", [real(3, 4)], {"alpha": 0.2}),
    Case("ThresholdedRelu", [real(3, 4)], {"alpha": 0.2}),
    Case("HardSigmoid", [real(3, 4)], {"alpha": 0.3}),
    Case("Gelu", [real(3, 4)], opset=20),
    Case("Gelu", [real(3, 4)], {"approximate": "tanh"}, opset=20),
    Case("Softmax", [real(2, 3, 4)]),
    Case("Softmax", [real(2, 3, 4)], {"axis": 1}),
    Case("Softmax", [real(2, 3, 4)], {"axis": 1}, opset=11),
    Case("LogSoftmax", [real(2, 3, 4)], {"axis": 0}),
    Case("LogSoftmax", [real(2, 3, 4)], opset=11),
    Case("ArgMax", [real(3, 4)], {"axis": 1, "keepdims": 0}),
    Case("ArgMin", [real(3, 4)]),
    Case("TopK", [real(3, 7), whole(3)], {"axis": -1}, outputs=2),
    Case("CumSum", [real(3, 4), np.array(1, np.int64)]),
    *(Case(f"Reduce{name}", [real(2, 3, 4), whole(-1, 0)]) for name in ("L1", "L2", "Max", "Mean", "Min", "Sum")),
    *(Case(f"Reduce{name}", [positive(2, 3), whole(1)]) for name in ("LogSum", "LogSumExp", "SumSquare")),
    Case("ReduceSum", [real(2, 3)], {"keepdims": 0}),
    Case("ReduceSum", [real(2, 3)], {"noop_with_empty_axes": 1}),
    Case("ReduceMean", [real(2, 3)], {"axes": [1], "keepdims": 0}, opset=13),
]

CASES = [*CONVOLUTIONS, *POOLS, *NORMS_AND_PRODUCTS, *SHAPES, *ELEMENTS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_answers_as_onnx_runtime_does(case: Case) -> None:
    agree(case)


def test_nearly_every_operator_of_the_table_is_compared() -> None:
    untested = OPERATORS.keys() - {case.operator for case in CASES}
    # Plain torch functions of one number, and one that this ONNX Runtime lacks.
    assert untested <= {"Acos", "Acosh", "Asin", "Asinh", "Atanh", "Cosh", "Sinh", "Swish"}


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (Case("NonMaxSuppression", [real(1, 2, 4), real(1, 1, 2)]), "NonMaxSuppression"),
        (Case("GatherND", [real(2, 3), np.array([[0]], np.int64)], {"batch_dims": 1}), "batch_dims"),
        (Case("MaxPool", [PICTURE], {"kernel_shape": [2, 2]}, outputs=2), "first output"),
        (Case("Cast", [real(2)], {"to": onnx.TensorProto.STRING}), "element type"),
    ],
    ids=["operator", "attribute", "output", "type"],
)
def test_what_the_table_lacks_is_refused_naming_the_node_and_the_other_backend(case: Case, says: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=f"(?s)(?=.*{says})(?=.*the-node)(?=.*onnxruntime)"):
        build_module(graph_of(case))


@pytest.mark.parametrize(
    "case",
    [
        Case("ScatterND", [real(4, 3), np.array([[0]], np.int64), real(1, 3)], {"reduction": "mul"}),
        Case("AveragePool", [PICTURE], {"kernel_shape": [2, 2], "dilations": [2, 2]}, opset=19),
    ],
    ids=str,
)
def test_a_form_of_an_operator_that_is_missing_is_refused_rather_than_computed_wrongly(case: Case) -> None:
    with pytest.raises(BackendError, match="onnxruntime"):
        build_module(graph_of(case))(torch.from_numpy(case.inputs[0]))


def test_questions_about_shapes_are_answered_before_the_graph_runs() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["rows"], axis=0),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    constants = [numpy_helper.from_array(whole(0), "zero"), numpy_helper.from_array(whole(-1), "rest")]
    shape = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 4])
    flat = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 12])
    graph = helper.make_graph(nodes, "sizes", [shape], [flat], constants)
    module = build_module(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert [node.op for node in module.graph.nodes] == ["placeholder", "call_function", "output"]
    assert module(torch.zeros(2, 3, 4))[0].shape == (2, 12)


def test_constants_of_every_kind_are_understood() -> None:
    nodes = [
        helper.make_node("Constant", [], ["a"], value_float=2.0),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(real(2), "c")),
        helper.make_node("Sum", ["x", "a", "b", "c"], ["y"]),
    ]
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "constants", [value], [helper.make_tensor_value_info("y", 1, [2])])
    module = build_module(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    np.testing.assert_allclose(module(torch.zeros(2))[0].numpy(), real(2) + np.array([3, 4], np.float32), rtol=1e-6)
