"""The methods that the paper compares with. Section 5.2 of the paper; each has its name there beside it."""

from __future__ import annotations

import numpy as np

from bench.study.problem import Decision, Floats, Point, Problem, costs, decide, own_costs


def device_only(problem: Problem, point: Point) -> Decision:
    """Everything on the devices (ACO-device only-EAR)."""
    return decide(problem, point, [problem.splits - 1] * problem.devices, _even(problem))


def edge_only(problem: Problem, point: Point) -> Decision:
    """Everything at the edge server, shared evenly (ACO-edge only-EAR)."""
    return decide(problem, point, [0] * problem.devices, _even(problem))


def even_shares(problem: Problem, point: Point) -> Decision:
    """Each device's best split for an even share (SPINN-EAR or ACO-EAR, by the problem's exits).

    That the split is the one of least cost is reconstructed [R]: the paper says only that both are partitioned alike.
    """
    at_edge = problem.edge_gflop * problem.devices / problem.edge_gflops
    splits = (own_costs(problem, point) + point.w * at_edge).argmin(axis=1)
    return decide(problem, point, splits.tolist(), _even(problem))


def fixed_split(problem: Problem, point: Point, split: int, tries: Floats) -> Decision:
    """All devices split behind the same layer; the best of the shares that were tried (FP-AR).

    Args:
        problem: whose.
        point: where.
        split: how many layers stay on each device.
        tries: shares to try; [tries, devices].
    """
    splits = np.full_like(tries, split, dtype=np.intp)
    seconds, _ = costs(problem, np.full(len(tries), point.bandwidth_mbps), splits, tries)
    best = int(np.stack(seconds).sum(axis=(0, 2)).argmin())
    return decide(problem, point, splits[best].tolist(), tries[best].tolist())


def random_shares(devices: int, tries: int, seed: int) -> Floats:
    """Shares drawn evenly from all that sum to 1; [tries, devices]."""
    return np.random.default_rng(seed).dirichlet(np.ones(devices), tries)


def _even(problem: Problem) -> list[float]:
    return [1 / problem.devices] * problem.devices
