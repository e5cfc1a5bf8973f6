"""What validation data says of exits: how many requests leave where, and how good their answers are, by thresholds.

Operating points are measured for whole sets of thresholds. For others, an exit is looked at by itself: whoever is
confident enough at one exit is taken to be so at every later one too (the nested approximation of exit setting after Ma
and Tang 2024 [R]), so that by exit j all have left who would leave there were it the only one. Between measured
thresholds that share is interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from schemas.model import CLOSED, ModelCard, OperatingPoint


def gone_by(card: ModelCard, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Per open exit, the share of all requests that has left by it (there or before), 0..1; never falls.

    Args:
        card: the model.
        thresholds: of the open exits.

    Returns:
        0 for every exit of a card without operating points: nothing is known before requests are seen.
    """
    exact = point_at(card, thresholds)
    gone: dict[str, float] = {}
    so_far = 0.0
    for index, one in enumerate(card.exits):
        if one.name in thresholds:
            by_here = (
                float(sum(exact.shares[: index + 1]))
                if exact is not None
                else _interpolated(card, index, thresholds[one.name])
            )
            so_far = gone[one.name] = min(1.0, max(so_far, by_here))
    return gone


def gone_at(card: ModelCard, name: str, threshold: float) -> float:
    """The share of all requests that has left by an exit at this threshold, whatever the others' are."""
    return next((_interpolated(card, index, threshold) for index, one in enumerate(card.exits) if one.name == name), 0)


def point_at(card: ModelCard, thresholds: Mapping[str, float]) -> OperatingPoint | None:
    """The operating point that was measured for just these thresholds, all others being closed; None without one."""
    wanted = tuple(thresholds.get(one.name, CLOSED) for one in card.exits)
    return next((point for point in card.operating_points if point.thresholds == wanted), None)


def thresholds_of(card: ModelCard, point: OperatingPoint) -> dict[str, float]:
    """An operating point's thresholds by the exits' names."""
    return {one.name: threshold for one, threshold in zip(card.exits, point.thresholds, strict=True)}


def _interpolated(card: ModelCard, index: int, threshold: float) -> float:
    """The share that is gone by the exit of that number at this threshold."""
    if threshold <= 0:
        return 1.0
    if not card.operating_points:
        return 0.0
    measured: dict[float, list[float]] = {}
    for point in card.operating_points:
        measured.setdefault(point.thresholds[index], []).append(sum(point.shares[: index + 1]))
    # By an exit that is closed nobody leaves, though it may never have been measured so.
    measured.setdefault(CLOSED, [0.0])
    places = sorted(measured)
    # A higher threshold lets fewer go: what the other exits' thresholds add to that is averaged out.
    shares = np.minimum.accumulate([float(np.mean(measured[place])) for place in places])
    return float(np.interp(threshold, places, shares))
