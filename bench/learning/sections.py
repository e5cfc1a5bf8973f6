"""The kinds of worlds that policies are let loose in: what is wrong there, and how measurements are disturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.learning.noises import as_assumed, heavy_tailed
from bench.learning.regrets import Tell, regrets
from bench.learning.scene import fleet_world, some_slow_links
from bench.learning.strange import some_strange
from services.planner.learning.learner import Proposer
from services.planner.learning.playing import Noise, ordinary
from services.planner.learning.world import World


@dataclass(frozen=True)
class Section:
    """One kind of worlds."""

    title: str
    worlds: Callable[[int], Sequence[World]]
    """So many of them."""
    noise: Noise = ordinary
    only: tuple[str, ...] = ("bandit", "ppo")
    """Policies that are let loose there: what is trained is for one objective."""


def _right(count: int) -> list[World]:
    return [fleet_world(seed) for seed in range(100, 100 + count)]


SECTIONS: Final[dict[str, Section]] = {
    "slow_link": Section("A link twice as slow as believed", some_slow_links),
    "nothing_wrong": Section("Nothing wrong", _right),
    "throughput": Section(
        "A link twice as slow, for throughput",
        lambda count: some_slow_links(max(2, count // 2), objective="throughput"),
        only=("bandit",),
    ),
    "small_memory": Section(
        "A device swaps the more it holds of the model", lambda count: some_strange("small_memory", count)
    ),
    "small_memories": Section("All devices do", lambda count: some_strange("small_memories", count)),
    "slow_bulk": Section("A link is slow for large messages only", lambda count: some_strange("slow_bulk", count)),
    "crowded_switch": Section(
        "Two links share a switch that is crowded", lambda count: some_strange("crowded_switch", count)
    ),
    "slow_link_12": Section("A link twice as slow, 12 % of noise", some_slow_links, as_assumed),
    "slow_link_heavy": Section("A link twice as slow, heavy tails and stalls", some_slow_links, heavy_tailed),
    "nothing_wrong_heavy": Section("Nothing wrong, heavy tails and stalls", _right, heavy_tailed),
}
OUTSIDE: Final = ("small_memory", "small_memories", "slow_bulk", "crowded_switch")
"""Where the mistake is none of the learner's terms."""


def measured(
    proposers: Mapping[str, Proposer], *, count: int, noises: int, tell: Callable[[str, float], None]
) -> dict[str, list[dict[str, Any]]]:
    """Every section, a row for each policy.

    Args:
        proposers: by name.
        count: worlds of each kind.
        noises: seeds of the noise for each.
        tell: told the section, and the share that is done of it.
    """

    def telling(title: str) -> Tell:
        return lambda name, share: tell(f"{title}: {name}", share)

    found = {}
    for key, section in SECTIONS.items():
        which = {name: one for name, one in proposers.items() if name in section.only}
        rows = regrets(section.worlds(count), which, noises=noises, noise=section.noise, tell=telling(section.title))
        found[key] = [one.as_data() for one in rows]
    return found
