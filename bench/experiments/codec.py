"""Every codec at cuts all over EfficientNet-Lite0, real weights, real pictures: bytes, time, same first label."""

from __future__ import annotations

from typing import Any

from bench.context import Context
from stageline.benches import codec


def run(context: Context) -> dict[str, Any]:
    """Measure with the pictures that were given, else with those that come in packages.

    Returns:
        `{"codec": [{"model", "cut", "after", "codec", "bytes", "of_fp32", "encode_ms", "decode_ms",
        "top1_agreement", "pictures", "pictures_from"}]}`.
    """
    where = str(context.pictures.name) if context.pictures else "scikit-image, packaged"
    measured = codec.run(context.progress, quick=context.quick, pictures=context.pictures)
    rows = [{"model": codec.MODEL, **row, "pictures_from": where} for row in measured]
    for row in rows:
        context.raw("codec", row)
    return {"codec": rows}
