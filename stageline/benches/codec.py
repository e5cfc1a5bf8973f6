"""`stageline bench codec`: what each codec costs and keeps at each cut: bytes, time, and agreement on the first label.

Real weights (EfficientNet-Lite0) and real pictures: a folder given with `--pictures`, else the four that scikit-image
ships. "Agreement" is the share of pictures whose first label is that of the unsplit model, codecs off.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from models.importer import import_model
from models.library import Library
from models.pictures import is_picture, load_picture
from models.runtime import load_stage
from schemas.codec import Array
from schemas.frame import encode_frame, open_frame
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard
from schemas.plan import CodecName
from stageline.cut_summary import spread_cuts
from stageline.packaged_pictures import packaged_pictures

MODEL: Final = "efficientnet-lite0"
MAX_CUTS: Final = 8
QUICK_CUTS: Final = 2
_HEADER: Final = FrameHeader(
    kind="work", request="bench", submitter="bench", deployment="bench", generation=1, budget_ms=1e6
)


def run(
    progress: Callable[[str, float], None] | None = None, *, quick: bool = False, pictures: Path | None = None
) -> list[dict[str, Any]]:
    """Measure every codec at up to eight cuts spread over the model.

    Returns:
        One row per cut and codec: `{"cut", "after", "codec", "bytes", "of_fp32", "encode_ms", "decode_ms",
        "top1_agreement", "pictures"}`; times are medians per frame, ms.
    """
    report = progress or (lambda _text, _share: None)
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        report(f"importing {MODEL}", 0.0)
        card = import_model(MODEL, library)
        inputs = _inputs(card, pictures)
        whole = load_stage(card, library.blobs, 0, len(card.blocks))
        expected = [_first_label(card, whole.run(one)) for one in inputs]
        whole.close()
        rows: list[dict[str, Any]] = []
        positions = spread_cuts(card, QUICK_CUTS if quick else MAX_CUTS)
        for done, position in enumerate(positions):
            report(f"cut {position}", done / len(positions))
            front = load_stage(card, library.blobs, 0, position)
            back = load_stage(card, library.blobs, position, len(card.blocks))
            activations = [front.run(one) for one in inputs]
            samples = _Samples(position, activations, expected, back.run)
            rows.extend(_row(card, samples, codec) for codec in get_args(CodecName))
            front.close()
            back.close()
        return rows


@dataclass(frozen=True, slots=True)
class _Samples:
    """What crosses one cut for every picture, what should come of it, and the rest of the model."""

    position: int
    activations: Sequence[dict[str, Array]]
    expected: Sequence[int]
    finish: Callable[[dict[str, Array]], dict[str, Array]]


def _row(card: ModelCard, samples: _Samples, codec: CodecName) -> dict[str, Any]:
    encode_ms, decode_ms, nbytes, agreed = [], [], [], 0
    for tensors, label in zip(samples.activations, samples.expected, strict=True):
        start = time.perf_counter()
        payload = encode_frame(_HEADER, tensors, codec)
        encoded = time.perf_counter()
        back = open_frame(payload).arrays()
        decode_ms.append((time.perf_counter() - encoded) * 1000)
        encode_ms.append((encoded - start) * 1000)
        nbytes.append(len(payload))
        agreed += _first_label(card, samples.finish(back)) == label
    return {
        "cut": samples.position,
        "after": card.blocks[samples.position - 1].label,
        "codec": codec,
        "bytes": int(np.median(nbytes)),
        "of_fp32": round(float(np.median(nbytes)) / card.cuts[samples.position].nbytes, 3),
        "encode_ms": round(float(np.median(encode_ms)), 3),
        "decode_ms": round(float(np.median(decode_ms)), 3),
        "top1_agreement": round(agreed / len(samples.expected), 4),
        "pictures": len(samples.expected),
    }


def _inputs(card: ModelCard, pictures: Path | None) -> list[dict[str, Array]]:
    if card.preprocess is None:
        raise ValueError(f"{card.name} takes no pictures")
    paths = packaged_pictures() if pictures is None else sorted(path for path in pictures.iterdir() if is_picture(path))
    return [{card.inputs[0].name: load_picture(path, card.preprocess)} for path in paths]


def _first_label(card: ModelCard, outputs: dict[str, Array]) -> int:
    return int(np.argmax(outputs[card.outputs[0].name]))
