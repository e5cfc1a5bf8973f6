"""Where exits may be attached to a network: after which blocks, and to the output of which of its submodules.

A cut is a tensor of the exported graph, and a head reads a tensor of a PyTorch module. Names say nothing about which is
which (batch norms are folded, functions have no module), so both are run on the same input and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, shape_inference

from models.exits.heads import HEAD_RANKS
from models.graph import Analysis, analyse
from models.normalise import take_pictures
from models.tidy import tidy
from models.torch_source import TorchModel, export
from schemas.codec import Array

_CLOSE: Final = 1e-3
"""Of the largest value: one side adds in another order, and batch norms may be folded on the other."""


@dataclass(frozen=True)
class Place:
    """A place for an exit.

    Attributes:
        block: the exit is evaluated once this block of the imported model is done.
        label: of that block.
        submodule: whose output the head reads.
        shape: of that output, batch first.
        macs: of the backbone up to there.
        share: the same as a share of the whole backbone, 0 to 1.
    """

    block: int
    label: str
    submodule: str
    shape: tuple[int, ...]
    macs: int
    share: float


@dataclass(frozen=True)
class Places:
    """Places for exits in order, and the multiply-accumulates of the whole backbone."""

    places: tuple[Place, ...]
    macs: int


def find_places(made: TorchModel, seed: int = 0) -> Places:
    """Every place for an exit, in order: cuts that one float tensor crosses, which is a submodule's output.

    A submodule must run once in a pass, and nothing may change its output afterwards.

    Args:
        made: a network with one input.
        seed: of the input that both forms are run on.

    Raises:
        models.catalog.SourceError: the network cannot be exported.
        models.graph.GraphError: its outputs cannot be served.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(made.example[0].shape, generator=generator)
    model = tidy(export(made))
    analysis = _analysis(model, made)
    crossing = {
        place: cut.tensors[0].name
        for place, cut in enumerate(analysis.cuts[1:-1], 1)
        if len(cut.tensors) == 1 and cut.tensors[0].dtype == "float32" and len(cut.tensors[0].shape) in HEAD_RANKS
    }
    values = _graph_values(model, inputs.numpy(), list(crossing.values()))
    given = _module_outputs(made.module, inputs)
    done = list(accumulate(block.macs for block in analysis.blocks))
    found: list[Place] = []
    for place, name in crossing.items():
        # Before the first layer that multiplies there is nothing to answer from.
        if not done[place - 1]:
            continue
        submodule = next((path for path, value in given.items() if _same(value, values[name])), None)
        if submodule is not None and submodule not in {one.submodule for one in found}:
            label = analysis.blocks[place - 1].label
            share = done[place - 1] / done[-1]
            found.append(Place(place - 1, label, submodule, values[name].shape, done[place - 1], share))
    return Places(tuple(found), done[-1])


def _analysis(model: onnx.ModelProto, made: TorchModel) -> Analysis:
    """Blocks as the importer numbers them: those of pictures begin with their normalisation."""
    imported = onnx.ModelProto()
    imported.CopyFrom(model)
    if made.picture is not None:
        take_pictures(imported, made.picture)
    del imported.graph.value_info[:]
    return analyse(shape_inference.infer_shapes(imported, data_prop=True))


def _graph_values(model: onnx.ModelProto, inputs: Array, names: Sequence[str]) -> dict[str, Array]:
    outputs = {value.name for value in model.graph.output}
    known = [name for name in names if name not in outputs]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(list(names), {session.get_inputs()[0].name: inputs}) if names else []
    return dict(zip(names, values, strict=True))


def _module_outputs(module: torch.nn.Module, inputs: torch.Tensor) -> dict[str, Array]:
    """What each submodule gives, in the order in which they end; innermost first, so that dropout is passed over."""
    seen: dict[str, list[tuple[Any, int, Any]]] = {}

    def watch(path: str) -> Any:
        def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            tensor = output if isinstance(output, torch.Tensor) and output.dtype == torch.float32 else None
            version = -1 if tensor is None else tensor._version
            seen.setdefault(path, []).append((tensor, version, None if tensor is None else tensor.numpy().copy()))

        return hook

    was_training = module.training
    module.eval()
    hooks = [one.register_forward_hook(watch(path)) for path, one in module.named_modules() if path]
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        module.train(was_training)
    return {
        path: outputs[0][2]
        for path, outputs in seen.items()
        if len(outputs) == 1 and outputs[0][0] is not None and outputs[0][0]._version == outputs[0][1]
    }


def _same(given: Array, wanted: Array) -> bool:
    if given.shape != wanted.shape:
        return False
    return bool(np.allclose(given, wanted, rtol=_CLOSE, atol=_CLOSE * float(np.abs(wanted).max(initial=0))))
