"""Forwards through a graph: which tensors have the picture's rows, on which axis, and why the others have none."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from models.macs import node_macs
from models.proto import reads
from models.rows.chain import ONE_TO_ONE, RowChain, RowsError, RowStep, RowTensor
from models.rows.facts import element_types, small_numbers, static_shapes
from models.rows.given import Divided, Given
from models.rows.operators import divide
from models.rows.specs import OUTPUT_AXIS
from schemas.model import TensorSpec


class Walk:
    """Takes the nodes one by one, in order, and remembers what they make."""

    def __init__(self, model: onnx.ModelProto, spec: TensorSpec, axis: int) -> None:
        graph = model.graph
        self._opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self._shapes = static_shapes(graph)
        self._dtypes = element_types(graph)
        self._numbers = small_numbers(graph)
        self._constants = {"", *(t.name for t in graph.initializer), *(t.values.name for t in graph.sparse_initializer)}
        self._input = spec.name
        self._rows: dict[str, RowTensor] = {}
        self.undivided: dict[str, str] = {}
        """Tensors that bands cannot make, with the reason."""
        self._steps: list[tuple[RowStep, tuple[str, ...]]] = []
        if len(spec.shape) > axis and spec.shape[axis] > 1:
            self._rows[spec.name] = RowTensor(spec.name, spec.shape, axis, spec.dtype)
        else:
            self.undivided[spec.name] = f"input {spec} has no rows along axis {axis}"

    def step(self, place: int, node: onnx.NodeProto, block: int) -> None:
        """The next node: its place in the graph, and the block that it belongs to."""
        needs = tuple(dict.fromkeys(reads(node)))
        makes = tuple(name for name in node.output if name)
        why = next((self.undivided[name] for name in needs if name in self.undivided), "")
        rows = {name: self._rows[name] for name in needs if name in self._rows}
        unknown = [name for name in needs if name not in rows and name not in self._constants]
        if not why and unknown:
            why = f"block {block}: {node.op_type} reads {unknown[0]!r}, which is made nowhere"
        how = Divided(0)
        if not why and rows:
            try:
                how = self._make(node, rows)
            except RowsError as error:
                why = f"block {block}: {error}"
        if why:
            self.undivided.update(dict.fromkeys(makes, why))
            return
        if not rows:
            self._constants.update(makes)
        macs = node_macs(node, self._shapes)
        reading = tuple((name, how.reach) for name in rows)
        self._steps.append((RowStep(place, block, node.op_type, reading, makes, macs, how.pads), needs))

    def _make(self, node: onnx.NodeProto, rows: Mapping[str, RowTensor]) -> Divided:
        axes = {name: tensor.axis for name, tensor in rows.items()}
        divided = divide(Given(node, self._opset, self._shapes, axes, self._numbers))
        made = [self._made(node, name, divided.axis) for name in node.output if name]
        [height] = {tensor.height for tensor in rows.values()}
        heights = {tensor.height for tensor in made}
        reach = divided.reach
        if len(heights) != 1 or (reach == ONE_TO_ONE and node.op_type != "Pad" and heights != {height}):
            raise RowsError(f"{node.op_type} changes the number of rows")
        lowest, highest = reach.window((0, heights.pop()))
        if node.op_type != "Pad" and (lowest + reach.span <= 0 or highest - reach.span >= height):
            raise RowsError(f"{node.op_type} has windows that hold nothing but padding")
        self._rows.update((tensor.name, tensor) for tensor in made)
        return divided

    def _made(self, node: onnx.NodeProto, name: str, axis: int) -> RowTensor:
        shape = self._shapes.get(name, ())
        if len(shape) <= axis or 0 in shape:
            raise RowsError(f"{node.op_type} has no static shape with rows at {name!r}")
        return RowTensor(name, shape, axis, self._dtypes.get(name, ""))

    def gives(self, spec: TensorSpec) -> bool:
        """Whether bands can end with this tensor."""
        tensor = self._rows.get(spec.name)
        if tensor is None or spec.name == self._input:
            return False
        return tensor.axis == OUTPUT_AXIS and tensor.shape == spec.shape and tensor.height > 1

    def chain(self, last: int, output: str) -> RowChain:
        """What the one tensor across the cut before block `last` needs, in the graph's order."""
        wanted = {output}
        kept: list[RowStep] = []
        for step, needs in reversed(self._steps):
            if wanted.intersection(step.makes):
                wanted.update(needs)
                kept.append(step)
        tensors = {
            name: self._rows[name]
            for name in (self._input, *(name for step in kept for name in step.makes))
            if name in self._rows
        }
        return RowChain(last, self._input, output, tensors, tuple(reversed(kept)))
