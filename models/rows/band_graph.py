"""Rewrites a graph for some rows: every node makes only the rows its readers need, and padding stays at the borders."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from models.rows.chain import RowChain, Rows, RowsError, RowStep
from models.rows.crops import crop_by_slice, crop_by_window, fits_window
from models.rows.needed import inside, rows_by_tensor
from models.rows.operators import WINDOWS


class BandGraph:
    """The nodes of one band, and the constants that they need besides the graph's own.

    Args:
        chain: what the band computes.
        graph: blocks `[0, chain.last)`.
        opset: of the graph.
        takes: rows of the input that it is given.
        gives: rows of the output that it makes.
        by_window: crop as ONNX Runtime likes it, see `models.rows.crops`.

    Raises:
        RowsError: `takes` lacks rows that are needed.
    """

    def __init__(
        self, chain: RowChain, graph: onnx.GraphProto, opset: int, takes: Rows, gives: Rows, *, by_window: bool
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._chain = chain
        self._opset = opset
        self._by_window = by_window
        self._needed = rows_by_tensor(chain, gives)
        lacks = self._needed[chain.input]
        if not takes[0] <= lacks[0] < lacks[1] <= takes[1]:
            raise RowsError(
                f"rows {gives[0]}:{gives[1]} of {chain.output} need rows {lacks[0]}:{lacks[1]} of {chain.input}; "
                f"the band takes only {takes[0]}:{takes[1]}"
            )
        self._have = {chain.input: takes}
        """Which rows each tensor of the band holds."""
        self._cropped: set[str] = set()
        makers = {name: node for node in graph.node for name in node.output if name}
        for step in chain.steps:
            node = onnx.NodeProto()
            node.CopyFrom(makers[step.makes[0]])
            self._add(step, node)
        self._finish(gives)

    def _add(self, step: RowStep, node: onnx.NodeProto) -> None:
        if step.reads:
            rows = self._needed[next(name for name in step.makes if name in self._needed)]
            made = rows
            if node.op_type in WINDOWS:
                self._pad_window(node, step, rows)
            elif node.op_type == "Pad":
                made = self._pad(node, step, rows)
            for name, reach in step.reads:
                self._read(node, name, inside(reach, rows, self._chain.tensors[name].height))
            self._have.update(dict.fromkeys(step.makes, made))
        self.nodes.append(node)

    def _read(self, node: onnx.NodeProto, name: str, rows: Rows) -> None:
        """Let the node read just these rows of a tensor."""
        if rows == self._have[name]:
            return
        part = f"{name}/rows{rows[0]}:{rows[1]}"
        if part not in self._cropped:
            self._cropped.add(part)
            self._crop(name, part, rows, self._have[name])
        node.input[:] = [part if read == name else read for read in node.input]
        if self._by_window and node.op_type in ("Add", "Sum") and len(node.input) == 2 and node.input[0] == part:
            # The runtime adds to the convolution that comes first: it shall be the one that it is without bands.
            node.input[:] = [node.input[1], part]

    def _crop(self, name: str, part: str, rows: Rows, held: Rows) -> None:
        tensor = self._chain.tensors[name if name in self._chain.tensors else part]
        above, below = rows[0] - held[0], held[1] - rows[1]
        if self._by_window and name != self._chain.input and fits_window(tensor, above, below):
            node, weight = crop_by_window(name, part, tensor, above, below)
            self.constants.append(weight)
        else:
            node, numbers = crop_by_slice(name, part, tensor.axis, (above, rows[1] - held[0]), self._opset)
            self.constants.extend(numbers)
        self.nodes.append(node)

    def _pad_window(self, node: onnx.NodeProto, step: RowStep, rows: Rows) -> None:
        [(name, reach)] = step.reads
        first, last = reach.window(rows)
        pads, rank = list(step.pads), len(step.pads) // 2
        # What a window reaches beyond the declared padding (`ceil_mode`) is no padding: it does not count in a mean.
        pads[0], pads[rank] = max(0, -first), min(max(0, last - self._chain.tensors[name].height), pads[rank])
        _replace(node, "pads", pads)
        _drop(node, "auto_pad")

    def _pad(self, node: onnx.NodeProto, step: RowStep, rows: Rows) -> Rows:
        """Set the padding; returns the rows that come out: more than asked for where those hold nothing but padding."""
        [(name, reach)] = step.reads
        tensor = self._chain.tensors[name]
        (first, last), (low, high) = reach.window(rows), inside(reach, rows, tensor.height)
        pads, rank = list(step.pads), len(step.pads) // 2
        pads[tensor.axis], pads[rank + tensor.axis] = max(0, low - first), max(0, last - high)
        if self._opset < 11:
            _replace(node, "pads", pads)
        else:
            node.input[1] = self._constant(f"{node.output[0]}/pads", pads)
            del node.input[3:]
        return min(first, low) + reach.before, max(last, high) + reach.before

    def _finish(self, gives: Rows) -> None:
        """Let the output hold just the rows that the band gives."""
        output = self._chain.output
        if self._have[output] == gives:
            return
        wider = f"{output}/wider"
        for node in self.nodes:
            node.output[:] = [wider if name == output else name for name in node.output]
        self._crop(wider, output, gives, self._have[output])

    def _constant(self, name: str, numbers: list[int]) -> str:
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers))
        return name


def _replace(node: onnx.NodeProto, name: str, value: list[int]) -> None:
    _drop(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def _drop(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
