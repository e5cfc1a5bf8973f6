"""What changes, when and where: load, processor time and links of a fleet over some minutes. Pure, and seeded.

A trace is a list of disturbances, one after the other, with calm between them. They are dealt like cards, in hands that
have every kind once and, in a fleet that is large enough, no device twice: none is favoured, and none spared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

What = Literal["load", "cores", "link"]

DISTURBED: Final[dict[What, float]] = {"load": 2.0, "cores": 0.25, "link": 5.0}
"""How bad it gets: other programs that compute all the time; the share left of a device's cores; Mbit/s each way."""
EPISODE_S: Final = 50.0
"""A disturbance, with the calm before it, lasts about so long where the trace has the time for a hand of them."""
_BEGINS: Final = (0.20, 0.35)
_ENDS: Final = (0.90, 1.0)
"""Shares of an episode between which its disturbance begins, and ends."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `at_s` on, `what` of a device is `value` (see DISTURBED for units); None: again as the fleet file says."""

    at_s: float
    device: str
    what: What
    value: float | None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.device}: {self.what} as before"
        said = {
            "load": f"{self.value:g} other programs", "cores": f"{self.value:.0%} of its cores",
            "link": f"link {self.value:g} Mbit/s",
        }  # fmt: skip
        return f"{self.device}: {said[self.what]}"


def make_trace(
    devices: Sequence[str], seconds: float, seed: int, kinds: Sequence[What] = ("load", "cores", "link")
) -> tuple[Change, ...]:
    """The changes of one trace, in order of time; the same for the same arguments, on every machine.

    Args:
        devices: names of the fleet's devices.
        seconds: how long it is.
        seed: which of the possible ones.
        kinds: what may change.
    """
    draw = random.Random(seed)  # noqa: S311  nothing is kept secret by it
    deck = _deck(draw, list(devices), list(kinds))
    hands = max(1, int(seconds / EPISODE_S / len(kinds)))
    episodes = min(len(deck), hands * len(kinds))
    each_s = seconds / episodes
    changes = []
    for number, (what, device) in enumerate(deck[:episodes]):
        begins_s, ends_s = (round(each_s * (number + draw.uniform(*share)), 2) for share in (_BEGINS, _ENDS))
        changes += [Change(begins_s, device, what, DISTURBED[what]), Change(ends_s, device, what, None)]
    return tuple(changes)


def _deck(draw: random.Random, devices: list[str], kinds: list[What]) -> list[tuple[What, str]]:
    """Every kind on every device once, so that each run of as many as there are kinds has each kind once, and no device
    twice where there are enough of them.
    """
    draw.shuffle(devices)
    draw.shuffle(kinds)
    deck = []
    for shift in range(len(devices)):
        hand = [(what, devices[(place + shift) % len(devices)]) for place, what in enumerate(kinds)]
        draw.shuffle(hand)
        deck += hand
    return deck


def spans(trace: Sequence[Change], seconds: float) -> list[tuple[float, float, Change]]:
    """Each disturbance as `(from, to, what it is)`, seconds."""
    found = []
    for change in trace:
        if change.value is not None:
            ends = (
                later.at_s
                for later in trace
                if (later.device, later.what) == (change.device, change.what) and later.at_s > change.at_s
            )
            found.append((change.at_s, next(ends, seconds), change))
    return found


def as_data(trace: Sequence[Change]) -> list[dict[str, object]]:
    """For JSON."""
    return [asdict(change) for change in trace]
