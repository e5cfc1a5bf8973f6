"""Every number that the paper's text does not give, in one place. All of it is reconstructed [R]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.exits.setting.interval import SPINN_SHARE


@dataclass(frozen=True, slots=True)
class Assumptions:
    """One reconstruction; `docs/studies/multi-exit.md` says what changes with others."""

    edge_gflops: float = 1000.0
    """Of the edge server. The paper's devices have 30 to 300 each; its server's figure is not in the text."""
    input_px: int = 224
    """Side of the picture. Decisions hardly depend on it: FLOPs and bytes grow alike."""
    pixel_bytes: int = 1
    """Per value of the input: a picture's pixels are 8 bits."""
    feature_bytes: int = 1
    """Per value of what layers give: 8 bits, as Stageline's codec u8 sends them."""
    classes: int = 1000
    head_side: int = 7
    """An early exit pools its features to this many rows and columns, as VGG's own head does,"""
    head_channels: int = 512
    """applies one 3x3 convolution with so many channels, pools to one value for each, and one linear layer."""
    exit_every: float = SPINN_SHARE
    """SPINN's distance between exits, as the paper gives it."""
    fixed_split: int = 6
    share_tries: int = 1000
    """Both of the method with a fixed split, as the paper gives them."""

    def __post_init__(self) -> None:
        for name in ("edge_gflops", "input_px", "pixel_bytes", "feature_bytes", "classes", "head_side", "share_tries"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} of {getattr(self, name)}: it must be above 0")


BASE: Final = Assumptions()
VARIANTS: Final[dict[str, Assumptions]] = {
    "as in the study": BASE,
    "edge server of 500 GFLOPS": Assumptions(edge_gflops=500.0),
    "edge server of 2000 GFLOPS": Assumptions(edge_gflops=2000.0),
    "edge server of 5000 GFLOPS": Assumptions(edge_gflops=5000.0),
    "features in fp32": Assumptions(feature_bytes=4),
    "everything in fp32": Assumptions(pixel_bytes=4, feature_bytes=4),
    "input in fp32, features in 8 bits": Assumptions(pixel_bytes=4),
    "exits that are a pooling and a linear layer": Assumptions(head_channels=0),
}
"""What the sensitivity check goes through."""
