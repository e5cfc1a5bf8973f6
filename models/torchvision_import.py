"""`torchvision`, importable also beside a PyTorch build that its compiled half does not match.

torchvision declares the fake kernels of two operators at import, and fails when its C++ library, which defines
them, could not be loaded. The classifiers use neither operator: declaring the two schemas is enough.
"""

from __future__ import annotations

from typing import Final

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # Kept for the life of the process: the schemas go when the library object does.
    _SCHEMAS: Final = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    _SCHEMAS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _SCHEMAS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    import torchvision

__all__ = ["torchvision"]
