"""Small problems of devices that share an edge server, drawn at random: few enough splits to try everything."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bench.study.problem import Point, Problem

points = st.builds(Point, st.floats(0.5, 60), st.floats(0, 1))


@st.composite
def problems(draw: st.DrawFn, most_devices: int = 3, most_splits: int = 4) -> Problem:
    """The more layers stay on a device, the less is left to the edge server, and nothing at the end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, most_devices)), draw(st.integers(2, most_splits)))
    left = np.sort(rng.random(shape), axis=1)[:, ::-1].copy()
    left[:, -1] = 0.0
    sent = rng.random(shape) * 5
    sent[:, -1] = 0.0
    local = np.sort(rng.random(shape), axis=1)
    local[:, 0] = 0.0
    return Problem(rng.random(shape[0]) * 3, rng.random(shape[0]), local, sent, left, float(rng.uniform(0.5, 20)))
