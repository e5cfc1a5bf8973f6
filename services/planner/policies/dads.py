"""DADS, dynamic adaptive DNN surgery (Hu et al., INFOCOM 2019): a device and a server, by min-cut or by bottleneck.

Light load [P]: the least delay of one frame, as a min-cut (`services.planner.min_cut`). Heavy load [P]: the most frames
per second, min over cuts of max(T_dev, T_link, T_srv). On a DAG that is NP-hard, and the paper approximates it; where
only prefixes may stay on the device there are no more cuts than blocks, and looking at each is exact [R].

[R] Reconstructed: objective `throughput` is heavy load and everything else light load, for DADS knows neither joules
nor mixed costs. Which of n devices are "edge" and "cloud" is not given here: every ordered pair is tried that could
beat the best so far were its tensors free to move, and the whole model on one device is always a candidate. Which
blocks read a tensor is not on a card, but at which cuts it is alive is: it was made by the block before the first of
them and is last read by the block after the last, and for prefixes no reader in between matters.

A min-cut adds up block times (`services.planner.block_times`). Without CPU quotas sums are exact, and the light-load
plan is as quick as the one that Neurosurgeon makes. A graph's capacities have no place for requests that leave early,
which make the fixed cost of a hop depend on where it is: under exits each cut is looked at there, too [R].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from schemas.model import Cut, TensorSpec
from services.planner.block_times import BlockTimes, block_times
from services.planner.complete import choose, kind
from services.planner.cost import Floats, Problem
from services.planner.cuts import wire_bytes
from services.planner.diagnosis import too_narrow
from services.planner.line_cost import Line, Placement, line_cost
from services.planner.min_cut import LiveTensor, prefix_cut
from services.planner.policy import Choice
from services.planner.search import TIE, pick
from services.planner.stage_times import transfer_ms
from services.planner.two_stages import two_stage_lines
from services.planner.whole_copies import whole_copies

_SPACE: Final = "one device or two in a row"


class Dads:
    """The best split in two: least latency by min-cut, or least bottleneck when throughput is wanted."""

    name = "dads"
    citation = (
        "Hu et al., Dynamic Adaptive DNN Surgery, INFOCOM 2019; reconstructed: prefixes only, the best ordered pair of "
        "n devices, heavy load solved exactly"
    )

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            services.planner.errors.PlanningError: no device alone and no two devices can serve; says why.
        """
        objective = problem.deployment.objective
        if objective == "throughput":
            candidates = [*whole_copies(problem), *two_stage_lines(problem, problem.bottleneck_ms, np.maximum)]
            if not candidates:
                raise too_narrow(problem, _SPACE)
            lines = pick(problem, [[line] for line in candidates])
            return choose(problem, lines, kind(lines), ["DADS under heavy load: the least bottleneck"])
        line = _least_of_all(problem) if problem.exits else least_delay(problem)
        if line is None:
            raise too_narrow(problem, _SPACE)
        notes = [] if objective == "latency" else [f"DADS minimises latency, whatever the {objective}"]
        return choose(problem, [line], kind([line]), notes)


def least_delay(problem: Problem) -> Line | None:
    """The route of one or two stages with the least latency, by one min-cut per pair of devices that may be better."""
    last = len(problem.positions) - 1
    line: Line | None = None
    least = np.inf
    for whole in whole_copies(problem):
        latency = float(problem.latency_ms[whole[0]])
        if latency < least:
            line, least = whole, latency
    if last < 2:
        return line
    times = block_times(problem)
    fixed = _fixed_ms(times)
    floor = _without_transfers(problem, times) + fixed
    for pair in np.argsort(floor, axis=None, kind="stable").tolist():
        device, server = divmod(pair, len(problem.devices))
        if not floor[device, server] < least * (1 - TIE):
            break
        may = problem.feasible[device, 0] & problem.feasible[server, :, last]
        cut = prefix_cut(
            times.block_ms[device].tolist(),
            times.block_ms[server].tolist(),
            list(live_tensors(problem, times, device, server)),
            forbidden=[border for border in range(1, last) if not may[border]],
        )
        if cut is not None and cut[1] + fixed[device, server] < least * (1 - TIE):
            border, delay = cut
            line = (Placement(device, 0, border), Placement(server, border, last))
            least = delay + float(fixed[device, server])
    return line


def _least_of_all(problem: Problem) -> Line | None:
    """The route of one or two stages with the least latency, each cut looked at."""
    candidates = [*whole_copies(problem), *two_stage_lines(problem, problem.latency_ms, np.add)]
    return min(candidates, key=lambda line: line_cost(problem, line).latency_ms, default=None)


def live_tensors(problem: Problem, times: BlockTimes, device: int, server: int) -> Iterator[LiveTensor]:
    """Every tensor that is alive at an inner cut, with its time from `device` to `server`."""
    codec = problem.deployment.codec
    up, down = problem.devices[device].link.up_mbps, problem.devices[server].link.down_mbps
    for tensor, first, last in lifetimes([problem.card.cuts[block] for block in problem.positions.tolist()]):
        nbytes = wire_bytes(Cut(tensors=(tensor,)), codec)
        # A codec touches the raw bytes once more at either end.
        handled = nbytes + (tensor.nbytes if codec != "fp32" else 0)
        handling = float(times.handling_ms_per_mb[device] + times.handling_ms_per_mb[server]) * handled / 1e6
        moving = transfer_ms(np.array([nbytes], dtype=np.float64), up) + transfer_ms(np.array([nbytes]), down)
        yield LiveTensor(
            producer=max(0, first - 1),
            consumers=(min(last, len(problem.positions) - 2),),
            transfer_ms=float(moving[0]) + handling,
        )


def lifetimes(cuts: Sequence[Cut]) -> Iterator[tuple[TensorSpec, int, int]]:
    """Each tensor with the first and the last of the cuts that it crosses without a gap."""
    alive: dict[str, tuple[TensorSpec, int]] = {}
    for position, cut in enumerate(cuts):
        here = {tensor.name: tensor for tensor in cut.tensors}
        for name in [name for name in alive if name not in here]:
            tensor, first = alive.pop(name)
            yield tensor, first, position - 1
        for name, tensor in here.items():
            alive.setdefault(name, (tensor, position))
    for tensor, first in alive.values():
        yield tensor, first, len(cuts) - 1


def _fixed_ms(times: BlockTimes) -> Floats:
    """(n, n) what an ordered pair takes wherever its cut is."""
    first = times.arrive_ms[:, 0] + times.depart_fixed_ms
    second = times.arrive_fixed_ms + times.depart_ms[:, -1]
    fixed: Floats = np.add.outer(first, second)
    return fixed


def _without_transfers(problem: Problem, times: BlockTimes) -> Floats:
    """(n, n) least computing time of each ordered pair; inf where it cannot be used."""
    last = len(problem.positions) - 1
    done = np.cumsum(times.block_ms, axis=1)[:, :-1]
    left = times.block_ms.sum(axis=1, keepdims=True) - done
    before = np.where(problem.feasible[:, 0, 1:last], done, np.inf)
    after = np.where(problem.feasible[:, 1:last, last], left, np.inf)
    least = np.full((len(problem.devices), len(problem.devices)), np.inf)
    for border in range(last - 1):
        least = np.minimum(least, np.add.outer(before[:, border], after[:, border]))
    np.fill_diagonal(least, np.inf)
    return least
