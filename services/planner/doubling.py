"""Waiting twice as long each further time: what did not help before is tried ever more rarely. Pure."""

from __future__ import annotations


def doubled(first_s: float, times: int, most_s: float) -> float:
    """`first_s` seconds, doubled so many times (none below 1), `most_s` at most."""
    # Where anything can be waited for at all it has reached any bound by then, and no float overflows.
    return min(most_s, first_s * 2.0 ** min(max(0, times), 64))
