"""How long to wait before trying the broker again (docs/decisions/0004-reconnect-policy.md)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0


def delays(rng: random.Random) -> Iterator[float]:
    """0.1 s doubling to 5 s, each shortened by up to half: clients that lost one broker do not return as one."""
    delay = FIRST_S
    while True:
        yield delay * (1.0 - 0.5 * rng.random())
        delay = min(LONGEST_S, 2 * delay)
