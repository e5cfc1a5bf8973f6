"""AMP4EC: one part of the model per node, sized by what the node can do, placed by a weighted score.

The partitioner is `services.planner.layer_walk`, the node selection `services.planner.node_selection`. What they need
and a planning problem does not say is put together like this, all of it [R]:

    layers                  the card's blocks, each with the cost of the layers in it: a part ends with the block in
                            which its target is reached, because branches cannot be cut apart
    load                    1 - the device's free share
    cores, memory free      capacity times free share; what its worker gives to this deployment
    latency                 round trip of its link
    average execution time  the whole model's computation on it, from its profile, in seconds: before anything was
                            served there is no history
    cores that a part asks  as many as the weakest usable node has free, so that nobody is skipped for being small,
                            and a fleet emulated at another scale is planned alike
    memory that it asks     what the stage needs
    order                   parts are sized for the nodes from the most capable down, and placed from the first on
    a node that holds one   has given all its cores to it, because the part was sized for the whole node; so no node
                            gets two parts while tasks are counted all the same
    pins and links          a node that may not or cannot take a part is passed over
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.diagnosis import line_text, why_not
from services.planner.errors import InfeasibleError
from services.planner.layer_walk import capability_targets, even_targets, walk
from services.planner.line_cost import Line, Placement, in_bound, line_cost
from services.planner.node_selection import AMP4EC, Node, Task, Weights, select, skipped
from services.planner.policy import Choice

PAPER: Final = "AMP4EC (Zhang et al., arXiv 2504.00407)"


class Amp4ec:
    """As many parts as there are usable devices, placed by NSA [C].

    Parts are sized by capability [P]; `amp4ec-plain` makes them all alike, as the authors' code does [C].
    """

    citation = f"{PAPER}; load, execution times and what a part asks for reconstructed from the profile"

    def __init__(self, *, plain: bool = False) -> None:
        self.name = "amp4ec-plain" if plain else "amp4ec"
        self._plain = plain

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: the card has no layer costs, a part has no node that may take it (says why for each), or
                all of it is over the latency bound.
        """
        return choose(problem, [scored_line(problem, AMP4EC, plain=self._plain)], "AMP4EC parts")


def node_of(problem: Problem, device: int) -> Node:
    """A device as the scores see it; how, is at the top of this file."""
    facts = problem.devices[device]
    free_share = min(1.0, facts.free_share)
    return Node(
        name=facts.name,
        cores=facts.info.capacity_cores * free_share,
        # A device may be lent no memory at all, and ratios are made of this.
        memory_bytes=max(1, problem.budget_bytes(device)),
        load=1 - free_share,
        latency_ms=facts.link.rtt_ms,
        average_s=float(problem.compute_ms[device, 0, -1]) / 1e3,
        busy_w=facts.info.power.busy_w,
    )


def usable_nodes(problem: Problem) -> dict[int, Node]:
    """Nodes, by device, that are neither too busy nor too far to be given anything.

    Raises:
        InfeasibleError: there is none; says why for each.
    """
    nodes = {device: node_of(problem, device) for device in range(len(problem.devices))}
    reasons = {device: skipped(node, Task(node.cores, node.memory_bytes)) for device, node in nodes.items()}
    usable = {device: node for device, node in nodes.items() if not reasons[device]}
    if not usable:
        raise InfeasibleError(
            f"no node may be selected: {'; '.join(reasons.values())}. Free one, or use another policy"
        )
    return usable


def asked(problem: Problem, nodes: Mapping[int, Node], first: int, last: int) -> Task:
    """What the part between two cut positions asks of a node."""
    return Task(min(node.cores for node in nodes.values()), max(1.0, float(problem.need_bytes[first, last])))


def scored_line(problem: Problem, weights: Weights, *, plain: bool = False) -> Line:
    """The model in one part per usable node, each on the node that scores best for it.

    Raises:
        InfeasibleError: the card has no layer costs, a part has no node, or all of it is over the latency bound.
    """
    costs = np.add.reduceat([block.layer_cost for block in problem.card.blocks], problem.positions[:-1]).tolist()
    total = sum(costs)
    if total == 0:
        raise InfeasibleError(
            f"the card of {problem.card.name} says no layer costs, which this policy divides: import the model again"
        )
    usable = usable_nodes(problem)
    left = dict(usable)
    line: list[Placement] = []
    for first, last in walk(costs, _targets(total, usable.values(), plain=plain)):
        task = asked(problem, usable, first, last)
        able = {device: node for device, node in left.items() if problem.feasible[device, first, last]}
        chosen = select(able, task, weights)
        if chosen is None:
            raise InfeasibleError(_no_node(problem, left, task, Placement(-1, first, last)))
        left[chosen] = left[chosen].holding(replace(task, cores=left[chosen].cores))
        line.append(Placement(chosen, first, last))
    if not in_bound(problem, line_cost(problem, tuple(line))):
        raise InfeasibleError(f"{line_text(problem, tuple(line))} takes longer than the latency bound")
    return tuple(line)


def _targets(total: float, nodes: Collection[Node], *, plain: bool) -> Sequence[float]:
    if plain:
        return even_targets(total, len(nodes))
    targets = capability_targets(total, [node.cores for node in nodes], [node.memory_bytes for node in nodes])
    return sorted(targets, reverse=True)


def _no_node(problem: Problem, nodes: Mapping[int, Node], task: Task, part: Placement) -> str:
    blocks = problem.positions.tolist()
    reasons = [
        f"{node.name} holds a part already"
        if node.tasks
        else why_not(problem, part._replace(device=device)) or skipped(node, task)
        for device, node in nodes.items()
    ]
    return (
        f"no node for the part [{blocks[part.first]}:{blocks[part.last]}): {'; '.join(reasons)}. "
        "This policy looks for no other cut: use --policy exact"
    )
