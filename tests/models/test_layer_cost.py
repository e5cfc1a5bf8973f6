"""AMP4EC's layer costs: by hand for operators, and of whole networks as PyTorch's own modules give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from onnx import TensorProto, helper

from models.layer_cost import node_layer_cost, parameters
from schemas.model import Block, ModelCard

SHAPES = {"w": (16, 8, 3, 3), "depthwise": (8, 1, 3, 3), "m": (64, 32), "b": (16,), "n": (16,), "mean": (16,)}


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "expected"),
    [
        ("Conv", ["x", "w", "b"], {}, 3 * 3 * 8 * 16),
        ("Conv", ["x", "depthwise"], {"group": 8}, 3 * 3 * 8 * 8),
        ("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], {}, 3 * 3 * 8 * 16),
        ("Gemm", ["x", "m", "b"], {"transB": 1}, 64 * 32),
        ("MatMul", ["x", "m"], {}, 64 * 32),
        ("MatMul", ["x", "y"], {}, 0),
        ("BatchNormalization", ["x", "b", "n", "mean", "mean"], {}, 16 + 16),
        ("PRelu", ["x", "b"], {}, 16),
        ("Add", ["x", "y"], {}, 0),
    ],
)
def test_a_layer_costs_what_amp4ec_takes_it_to(
    operator: str, inputs: list[str], attributes: dict[str, Any], expected: int
) -> None:
    assert node_layer_cost(helper.make_node(operator, inputs, ["out"], **attributes), SHAPES, SHAPES) == expected


def test_layers_inside_control_flow_count() -> None:
    inner = helper.make_node("Conv", ["x", "w"], ["y"])
    body = helper.make_graph([inner], "then", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    branch = helper.make_node("If", ["condition"], ["out"], then_branch=body, else_branch=body)
    assert node_layer_cost(branch, SHAPES, SHAPES) == 2 * 3 * 3 * 8 * 16


def test_shapes_and_bounds_are_no_parameters() -> None:
    constants = [
        helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("bound", TensorProto.FLOAT, [], [6.0]),
    ]
    assert parameters(helper.make_graph([], "g", [], [], initializer=constants)) == {"weight": (2,)}


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_an_imported_network_costs_what_its_modules_cost(name: str, imported: Callable[[str], ModelCard]) -> None:
    from torch import nn

    from models.torchvision_import import torchvision

    def cost(layer: nn.Module) -> int:
        if isinstance(layer, nn.Conv2d):
            return layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels * layer.out_channels
        return layer.in_features * layer.out_features if isinstance(layer, nn.Linear) else 0

    # Batch normalisations are folded into the convolutions by the exporter.
    expected = sum(cost(layer) for layer in torchvision.models.get_model(name).modules())
    card = imported(name)
    assert sum(block.layer_cost for block in card.blocks) == expected
    assert card.blocks[0].layer_cost == 0, "the picture's normalisation is no layer of the model"


def test_a_card_from_before_layer_costs_still_parses(tiny: ModelCard) -> None:
    old = tiny.blocks[0].model_dump()
    del old["layer_cost"]
    assert Block.model_validate(old).layer_cost == 0
