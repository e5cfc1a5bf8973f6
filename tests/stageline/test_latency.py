"""How long answers over one route take."""

from __future__ import annotations

import pytest

from stageline.latency import Latency


def test_patience_starts_from_the_prediction_and_then_follows_what_is_seen() -> None:
    latency = Latency(0.5)
    assert latency.usual_s == pytest.approx(1.5)
    for _ in range(50):
        latency.observe(4.0)
    assert latency.observed_s == pytest.approx(4.0)
    assert 4.0 <= latency.usual_s < 5.0
    assert Latency(None).usual_s == 0.0
