"""What may stand for a model, and what is said of a name that does not."""

from __future__ import annotations

import pytest

from models.catalog import LITE, PACKAGED, TORCHVISION, UnknownModelError, names, resolve
from schemas.base import check_name


def test_the_six_lite0_and_what_is_packaged_are_known_by_name() -> None:
    assert names() == (*TORCHVISION, LITE, *PACKAGED)
    assert [resolve(name).kind for name in names()] == ["torchvision"] * 6 + ["efficientnet-lite", "onnx"]


def test_any_other_torchvision_classifier_is_known_too() -> None:
    assert resolve("shufflenet_v2_x0_5").kind == "torchvision"


def test_detectors_and_segmenters_are_not_classifiers() -> None:
    with pytest.raises(UnknownModelError):
        resolve("fasterrcnn_resnet50_fpn")


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean.*mobilenet_v2"):
        resolve("mobilenetv2")


def test_nonsense_is_answered_with_every_form_a_source_may_have() -> None:
    with pytest.raises(UnknownModelError, match=r"package\.module:factory.*\.onnx"):
        resolve("??")


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("mine.nets:Small", "factory", "Small"),
        ("mine:make.small", "factory", "make_small"),
        ("/data/My Model v1.2.onnx", "onnx", "My_Model_v1_2"),
        ("UPPER.ONNX", "onnx", "UPPER"),
        ("___.onnx", "onnx", "model"),
        ("efficientnet-lite0", "efficientnet-lite", "efficientnet-lite0"),
    ],
)
def test_a_source_suggests_a_legal_name(text: str, kind: str, name: str) -> None:
    source = resolve(text)
    assert (source.kind, source.default_name) == (kind, name)
    assert check_name("model", source.default_name) == name
