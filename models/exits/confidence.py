"""How sure a head is of its answer: the largest probability that softmax gives its logits (BranchyNet, MSDNet)."""

from __future__ import annotations

import math

import numpy as np

from schemas.codec import Array


def confidence(logits: Array) -> float:
    """Largest softmax probability of one answer's logits, 0 to 1.

    Args:
        logits: of one answer, any float dtype; all elements together are one distribution, whatever the shape.

    Returns:
        NaN where the logits say nothing: there are none, or NaN or an infinity is the largest of them.
    """
    if not logits.size:
        return math.nan
    values = logits.astype(np.float64).ravel()
    largest = values.max()
    if not math.isfinite(largest):
        return math.nan
    return float(1.0 / np.exp(values - largest).sum())


def is_confident(logits: Array, threshold: float) -> bool:
    """Whether a request with these logits leaves at an exit with this threshold; never by logits that say nothing."""
    # Not `confidence(logits) < threshold` the other way round: NaN is less sure than any threshold.
    return confidence(logits) >= threshold
