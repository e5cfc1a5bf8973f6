"""All methods of the study that need no training, and the two problems of a table that they solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.study.assumptions import Assumptions
from bench.study.baselines import device_only, edge_only, even_shares, fixed_split, random_shares
from bench.study.devices import TABLES
from bench.study.exact import exact
from bench.study.exits import colony_exits
from bench.study.network import Network, vgg16
from bench.study.problem import Decision, Floats, Point, Problem, build
from models.exits.setting.interval import interval_exits

NAMES: Final[dict[str, str]] = {
    "device-only": "ACO-device only-EAR",
    "edge-only": "ACO-edge only-EAR",
    "spinn": "SPINN-EAR",
    "aco": "ACO-EAR",
    "fixed-6": "FP-AR",
    "ppo-paper": "ACO-DRL, actions and observations as reconstructed",
    "ppo": "ACO-DRL, splits learned and shares in closed form",
    "exact": "ours: the best decision there is for the colony's exits",
}
"""Every method by its name in results.json, and what it is in the paper."""
LEARNED: Final = ("ppo-paper", "ppo")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table of devices, ready to be decided about."""

    name: str
    network: Network
    exits: tuple[tuple[int, ...], ...]
    """The colony's, by device."""
    problem: Problem
    """With the colony's exits."""
    spinn: Problem
    """With SPINN's."""
    tries: Floats
    """Random shares, for the method with a fixed split."""
    assumed: Assumptions


def prepare(name: str, assumed: Assumptions, seed: int) -> Table:
    """A table by name (`bench.study.devices.TABLES`), exits set."""
    network, devices = vgg16(assumed), TABLES[name]
    exits = tuple(colony_exits(network.layers, device, seed) for device in devices)
    spinn = [interval_exits(network.layers, assumed.exit_every)] * len(devices)
    return Table(
        name, network, exits,
        build(network, devices, exits, assumed.edge_gflops), build(network, devices, spinn, assumed.edge_gflops),
        random_shares(len(devices), assumed.share_tries, seed), assumed,
    )  # fmt: skip


def on_paper(table: Table, point: Point) -> dict[str, Decision]:
    """What every method that needs no training does at a point."""
    return {
        "device-only": device_only(table.problem, point),
        "edge-only": edge_only(table.problem, point),
        "spinn": even_shares(table.spinn, point),
        "aco": even_shares(table.problem, point),
        f"fixed-{table.assumed.fixed_split}": fixed_split(table.problem, point, table.assumed.fixed_split, table.tries),
        "exact": exact(table.problem, point),
    }
