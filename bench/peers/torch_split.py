"""The very module that a model was imported from, whole or in parts: what a user of PyTorch would run.

Parts are cut by torch.fx where one tensor alone crosses, nearest to the wanted shares of the multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.fx.passes.split_module import split_module

from bench.context import SEED
from bench.peers.splits import borders_of_shares
from models.catalog import resolve
from models.normalise import PictureInput
from models.torch_source import build
from schemas.model import ModelCard


class LooseWeightsError(ValueError):
    """A module that reads weights outside of any layer, which this way of cutting cannot follow."""

    def __init__(self, takes: Sequence[Any]) -> None:
        super().__init__(f"a part would take {', '.join(map(str, takes))}: put loose weights into layers of their own")


class Normalise(nn.Module):
    """A uint8 picture [1, H, W, 3] as the float32 [1, 3, H, W] that a network takes, as the imported graph does it."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, picture: PictureInput) -> None:
        super().__init__()
        mean, std = torch.tensor(picture.mean).view(1, 3, 1, 1), torch.tensor(picture.std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Normalise; the result is contiguous, as PyTorch's own transforms leave it."""
        planes = picture.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.mul_(self.scale).add_(self.shift)


def whole_module(card: ModelCard) -> nn.Module:
    """The module of a card's source in evaluation mode, with the weights that the card's blobs hold.

    Raises:
        models.catalog.SourceError: it cannot be built here.
    """
    source = resolve(card.source)
    made = build(source, weights="random", seed=SEED, input_shape=None)
    parts = [made.module] if made.picture is None else [Normalise(made.picture), made.module]
    return nn.Sequential(*parts).eval().requires_grad_(False)


def parts_by_shares(module: nn.Module, example: torch.Tensor, shares: Sequence[float]) -> list[nn.Module]:
    """The module in a row of parts with such shares of the work, each from one tensor to one tensor.

    Raises:
        bench.peers.splits.TooFewPlacesError: fewer places to cut than needed.
        LooseWeightsError: parts would have to be handed weights.
    """
    traced = fx.GraphModule(module, _Tracer().trace(module))
    with torch.no_grad():
        ShapeProp(traced).propagate(example)
    _fix_sizes(traced)
    nodes = [node for node in traced.graph.nodes if node.op not in {"placeholder", "output"}]
    modules = dict(traced.named_modules())
    done = [0, *accumulate(_macs(node, modules) for node in nodes)]
    inputs = {user for node in traced.graph.nodes if node.op == "placeholder" for user in node.users}
    places = [0, *_single_crossings(nodes, inputs), len(nodes)]
    borders = [places[index] for index in borders_of_shares([done[place] for place in places], shares)]
    part_of = {node: part for part, (first, last) in enumerate(pairwise(borders)) for node in nodes[first:last]}
    split = split_module(traced, traced, lambda node: part_of.get(node, 0))
    found = [split.get_submodule(f"submod_{part}") for part in range(len(shares))]
    for part in found:
        takes = [node.target for node in part.graph.nodes if node.op == "placeholder"]  # type: ignore[union-attr]
        if len(takes) != 1:
            raise LooseWeightsError(takes)
    return found


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A library's own layers count as layers, too: traced into, they would read their weights from outside a part.
        return isinstance(m, Normalise | nn.Conv2d | nn.Linear) or super().is_leaf_module(m, module_qualified_name)


def _fix_sizes(traced: fx.GraphModule) -> None:
    """Write sizes that are asked for as numbers, as an imported graph has them: they would cross every cut."""
    for node in list(traced.graph.nodes):
        if node.op == "call_method" and node.target == "size" and len(node.args) == 2:
            size = int(node.args[0].meta["tensor_meta"].shape[node.args[1]])
            for user in list(node.users):
                user.args = fx.node.map_arg(user.args, partial(_with_number, asked=node, number=size))
            traced.graph.erase_node(node)


def _with_number(argument: fx.Node, *, asked: fx.Node, number: int) -> Any:
    return number if argument is asked else argument


def _macs(node: fx.Node, modules: Mapping[str, nn.Module]) -> int:
    layer = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(layer, nn.Conv2d):
        return _size(node) * layer.in_channels // layer.groups * prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return _size(node) * layer.in_features
    return 0


def _size(node: fx.Node) -> int:
    shape: Any = node.meta["tensor_meta"].shape
    return prod(shape)


def _single_crossings(nodes: Sequence[fx.Node], takes_input: set[fx.Node]) -> Iterator[int]:
    """Places between two nodes that one value crosses, made by one of the nodes before."""
    number = {node: index for index, node in enumerate(nodes)}
    last_use = [max((number.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes]
    input_needed_before = 1 + max(number[node] for node in takes_input)
    for place in range(input_needed_before, len(nodes)):
        if sum(last >= place for last in last_use[:place]) == 1:
            yield place
