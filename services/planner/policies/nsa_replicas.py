"""AMP4EC's weighted dispatch: a whole copy wherever one fits, requests shared out by the scores of node selection."""

from __future__ import annotations

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.node_selection import AMP4EC, score, skipped
from services.planner.policies.amp4ec import PAPER, asked, node_of, usable_nodes
from services.planner.policies.replicas import copies
from services.planner.policy import Choice


class NsaReplicas:
    """Copies get requests in proportion to their scores.

    The score is NSA's [C] for a node without tasks. That shares are in proportion to it, where the authors select a
    node anew for every request, is [R], as is what a score is made of (`services.planner.policies.amp4ec`). The shares
    are kept to even where that means waiting for a full node; theirs would pass over it, and so serve more.
    """

    name = "nsa-replicas"
    citation = f"{PAPER}; that requests are shared out in proportion to the scores is reconstructed"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: no device can serve the whole model, or all that could are skipped; says why for each.
        """
        fit, left_out = copies(problem)
        last = len(problem.positions) - 1
        task = asked(problem, usable_nodes(problem), 0, last)
        nodes = [node_of(problem, line[0].device) for line in fit]
        used = [place for place, node in enumerate(nodes) if not skipped(node, task)]
        left_out += [reason for node in nodes if (reason := skipped(node, task))]
        if not used:
            raise InfeasibleError(f"no node may be selected for a whole copy: {'; '.join(left_out)}")
        shares = [score(nodes[place], task, AMP4EC) for place in used]
        return choose(problem, [fit[place] for place in used], "replicas by NSA", left_out, shares=shares)
