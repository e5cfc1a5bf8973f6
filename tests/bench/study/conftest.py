from __future__ import annotations

import pytest

from bench.study.assumptions import BASE
from bench.study.methods import Table, prepare


@pytest.fixture(scope="session", params=["images", "video"])
def table(request: pytest.FixtureRequest) -> Table:
    """Both of the paper's, prepared once."""
    return prepare(request.param, BASE, seed=0)
