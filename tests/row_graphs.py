"""Small graphs whose rows can be divided, as hypothesis draws them, and cards for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import onnx
from hypothesis import assume
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from models.blobs import BlobStore
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec

WIDTH = 5


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def weight(name: str, *shape: int) -> TensorProto:
    rng = np.random.default_rng(sum(map(ord, name)))
    fan_in = max(1, int(np.prod(shape[1:])))
    return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)


def signs(name: str, *shape: int) -> TensorProto:
    """Weights -1, 0 and 1: with whole numbers to multiply, no sum is rounded, whatever its order."""
    rng = np.random.default_rng(sum(map(ord, name)))
    return numpy_helper.from_array(rng.integers(-1, 2, shape).astype(np.float32), name)


def whole(name: str, *numbers: int) -> TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[TensorProto],
    *,
    height: int,
    output: str,
    channels: int = 2,
    opset: int = 18,
) -> onnx.ModelProto:
    """A graph from `x` [1, channels, height, WIDTH] to `output`, and behind it to `y`, a mean of all of it."""
    nodes = [*nodes, helper.make_node("GlobalAveragePool", [output], ["y"], "tail")]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, height, WIDTH])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "rows", [taken], [given], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def card_of(model: onnx.ModelProto, output: str, store: BlobStore | None = None) -> tuple[ModelCard, bytes]:
    """Two blocks: all that makes `output`, and the rest."""
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output, *inferred.input)
    }
    edge = 1 + max(i for i, node in enumerate(model.graph.node) if output in node.output)
    data = model.SerializeToString()
    cuts = [tuple(spec(value.name, *sizes[value.name]) for value in model.graph.input)]
    cuts += [(spec(output, *sizes[output]),), tuple(spec(value.name, *sizes[value.name]) for value in inferred.output)]
    common = {"macs": 0, "weight_bytes": 0, "peak_activation_bytes": 0}
    card = ModelCard(
        name="rows",
        source="test",
        graph=store.add(data) if store else Blob(sha256="0" * 64, nbytes=len(data)),
        blobs=(),
        blocks=(
            Block(label="divided", first_node=0, last_node=edge, **common),
            Block(label="whole", first_node=edge, last_node=len(model.graph.node), **common),
        ),
        cuts=tuple(Cut(tensors=tensors) for tensors in cuts),
        inputs=cuts[0],
        outputs=cuts[-1],
    )
    return card, data


@dataclass
class Drawn:
    """A graph as it grows."""

    height: int
    exact: bool
    """Nothing is rounded."""
    channels: int = 2
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    at: str = "x"

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        made = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [made], made, **attributes))
        return made

    def constant(self, *shape: int) -> str:
        self.constants.append((signs if self.exact else weight)(f"w{len(self.constants)}", *shape))
        return self.constants[-1].name

    def numbers(self, *numbers: int) -> str:
        self.constants.append(whole(f"n{len(self.constants)}", *numbers))
        return self.constants[-1].name


def _conv(draw: st.DrawFn, g: Drawn) -> None:
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    span = (kernel - 1) * dilation + 1
    above, below = draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1))
    g.height = (g.height + above + below - span) // stride + 1
    assume(g.height >= 2)
    groups = draw(st.sampled_from([1, 2]))
    w = g.constant(g.channels, g.channels // groups, kernel, 3)
    window = {"pads": [above, 1, below, 1], "strides": [stride, 1], "dilations": [dilation, 1]}
    g.at = g.add("Conv", g.at, w, group=groups, **window)


def _pool(draw: st.DrawFn, g: Drawn) -> None:
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel, stride, ceil = (
        draw(st.integers(1, 2 if g.exact and kind == "AveragePool" else 3)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([0, 1])),
    )
    above, below = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    # With `ceil_mode` there may be one more: shape inference will tell.
    g.height = (g.height + above + below - kernel) // stride + 1
    assume(g.height >= 2)
    counts = {"count_include_pad": draw(st.sampled_from([0, 1]))} if kind == "AveragePool" else {}
    window = {"kernel_shape": [kernel, 1], "pads": [above, 0, below, 0], "strides": [stride, 1], "ceil_mode": ceil}
    g.at = g.add(kind, g.at, **window, **counts)


def _pad(draw: st.DrawFn, g: Drawn) -> None:
    above, below = draw(st.integers(-1, 3)), draw(st.integers(-1, 3))
    g.height += above + below
    assume(g.height >= 2)
    g.at = g.add("Pad", g.at, g.numbers(0, 0, above, 0, 0, 0, below, 0))
    # Right before a pooling, ONNX Runtime would take both paddings together and find them too much for the kernel.
    if draw(st.booleans()):
        g.at = g.add("Relu", g.at)
    else:
        _conv(draw, g)


def _residual(draw: st.DrawFn, g: Drawn) -> None:
    kernel = draw(st.sampled_from([1, 3, 5]))
    side = g.add("Conv", g.at, g.constant(g.channels, g.channels, kernel, 1), pads=[kernel // 2, 0, kernel // 2, 0])
    g.at = g.add("Add", g.at, side)


def _branches(draw: st.DrawFn, g: Drawn) -> None:
    up = g.add("MaxPool", g.at, kernel_shape=[3, 1], pads=[2, 0, 0, 0])
    down = g.add("Conv", g.at, g.constant(g.channels, g.channels, 3, 1), pads=[0, 0, 2, 0])
    joined = g.add("Concat", up, down, axis=1)
    g.at = g.add("Conv", joined, g.constant(g.channels, 2 * g.channels, 1, 1))


def _elements(draw: st.DrawFn, g: Drawn) -> None:
    rounded = () if g.exact else ("BatchNormalization", "Softmax")
    kind = draw(st.sampled_from(["Relu", "Mul", "Turn", "Split", *rounded]))
    if kind == "Mul":
        g.at = g.add(kind, g.at, g.constant(1, g.channels, 1, 1))
    elif kind == "BatchNormalization":
        statistics = [g.constant(g.channels) for _ in range(3)]
        g.constants.append(numpy_helper.from_array(np.ones(g.channels, np.float32), f"v{len(g.constants)}"))
        g.at = g.add(kind, g.at, *statistics, g.constants[-1].name)
    elif kind == "Softmax":
        g.at = g.add(kind, g.at, axis=1)
    elif kind == "Turn":
        g.at = g.add("Transpose", g.add("Transpose", g.at, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    elif kind == "Split":
        made = [f"t{len(g.nodes)}a", f"t{len(g.nodes)}b"]
        g.nodes.append(helper.make_node("Split", [g.at], made, made[0], axis=1, num_outputs=2))
        wide = g.add("Conv", made[0], g.constant(g.channels // 2, g.channels // 2, 3, 1), pads=[1, 0, 1, 0])
        g.at = g.add("Concat", made[1], wide, axis=1)
    else:
        g.at = g.add(kind, g.at)


@st.composite
def divisible(draw: st.DrawFn, *, exact: bool = False) -> tuple[onnx.ModelProto, str]:
    """A graph, and the tensor that bands of it give."""
    height = draw(st.integers(6, 40))
    g = Drawn(height, exact)
    for _ in range(draw(st.integers(1, 6))):
        draw(st.sampled_from([_conv, _conv, _pool, _pool, _pad, _residual, _branches, _elements]))(draw, g)
    return model_of(g.nodes, g.constants, height=height, output=g.at), g.at


@st.composite
def divisions(draw: st.DrawFn, height: int) -> list[tuple[int, int]]:
    """Rows `[0, height)` in one to four bands."""
    edges = draw(st.lists(st.integers(1, height - 1), max_size=3, unique=True))
    return list(pairwise([0, *sorted(edges), height]))
