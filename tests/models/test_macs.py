"""Multiply-accumulates by hand, and of the networks whose counts are published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from onnx import helper

from models.macs import node_macs
from schemas.model import ModelCard

SHAPES = {
    "x": (1, 8, 10, 10),
    "y": (1, 16, 5, 5),
    "w": (16, 8, 3, 3),
    "depthwise": (8, 1, 3, 3),
    "up": (8, 4, 2, 2),
    "upped": (1, 4, 20, 20),
    "tokens": (1, 50, 64),
    "m": (64, 32),
    "mixed": (1, 50, 32),
    "rows": (64, 50),
    "gemm": (50, 32),
    "steps": (7, 1, 12),
    "wx": (1, 40, 12),
    "wh": (1, 40, 10),
    "hidden": (7, 1, 1, 10),
    "one": (),
}


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "expected"),
    [
        ("Conv", ["x", "w"], "y", {}, 16 * 25 * 8 * 9),
        ("Conv", ["x", "depthwise"], "x", {"group": 8}, 800 * 9),
        ("ConvTranspose", ["x", "up"], "upped", {}, 800 * 4 * 4),
        ("QLinearConv", ["x", "one", "one", "w", "one", "one", "one", "one"], "y", {}, 16 * 25 * 8 * 9),
        ("MatMul", ["tokens", "m"], "mixed", {}, 50 * 32 * 64),
        ("Gemm", ["rows", "m"], "gemm", {"transA": 1}, 50 * 32 * 64),
        ("LSTM", ["steps", "wx", "wh"], "hidden", {}, 7 * (40 * 12 + 40 * 10)),
        ("Einsum", ["tokens", "m"], "mixed", {"equation": "bij,jk->bik"}, 50 * 64 * 32),
        ("Einsum", ["tokens"], "tokens", {"equation": "...->..."}, 0),
        ("Add", ["x", "x"], "x", {}, 0),
        ("Conv", ["unknown", "w"], "y", {}, 0),
    ],
)
def test_an_operator_multiplies_as_often_as_counted_by_hand(
    operator: str, inputs: list[str], output: str, attributes: dict[str, Any], expected: int
) -> None:
    assert node_macs(helper.make_node(operator, inputs, [output], **attributes), SHAPES) == expected


def test_an_operator_of_another_domain_is_not_counted() -> None:
    assert node_macs(helper.make_node("Conv", ["x", "w"], ["y"], domain="com.example"), SHAPES) == 0


@pytest.mark.parametrize(
    ("name", "millions"), [("mobilenet_v2", 301), ("resnet18", 1814), ("vgg16", 15470), ("efficientnet-lite0", 385)]
)
def test_known_networks_have_their_published_counts(
    name: str, millions: int, imported: Callable[[str], ModelCard]
) -> None:
    assert round(imported(name).macs / 1e6) == millions
