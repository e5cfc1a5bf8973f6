"""The additive view of the cost model says what the cost model says."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.deployment import Deployment
from services.planner.block_times import block_times
from services.planner.cost import problem_from
from services.planner.facts import HubFacts
from stageline.benches.planner import made_up_card, made_up_fleet

HUB = HubFacts(100, 100)


def added_up(problem) -> np.ndarray:
    times = block_times(problem)
    done = np.concatenate([np.zeros((len(problem.devices), 1)), np.cumsum(times.block_ms, axis=1)], axis=1)
    return times.arrive_ms[:, :, None] + done[:, None, :] - done[:, :, None] + times.depart_ms[:, None, :]


@pytest.mark.parametrize("codec", ["fp32", "u8"])
def test_arrival_blocks_and_departure_add_up_to_every_stages_latency(codec, make_card, make_device):
    devices = [
        make_device("a", [3, 5, 8], mbps=(80, 160), rtt_ms=2, frame_ms=1, frame_ms_per_mb=4, free_share=0.5),
        make_device("b", [2, 1, 4], mbps=(8, 16), rtt_ms=6, frame_ms=0.5, frame_ms_per_mb=2, cores=4),
    ]
    card = make_card([400_000, 200_000, 300_000, 4_000])
    problem = problem_from(card, Deployment(deployment="d", model="made-up", codec=codec), devices, HUB)
    assert added_up(problem)[problem.feasible] == pytest.approx(problem.latency_ms[problem.feasible])


def test_where_a_quota_lets_short_work_through_only_the_whole_model_is_exact():
    card = made_up_card(12)
    limits = [{"capacity_cores": cores, "quota_period_ms": 100.0} for cores in (0.4, 0.6)]
    fleet = [
        replace(device, info=device.info.model_copy(update=limit))
        for device, limit in zip(made_up_fleet(card, 2, 1 << 40), limits, strict=True)
    ]
    problem = problem_from(card, Deployment(deployment="d", model="made-up"), fleet, HUB)
    sums = added_up(problem)
    assert sums[:, 0, -1] == pytest.approx(problem.latency_ms[:, 0, -1])
    # A single block passes within the quota: alone it is quicker than its share.
    assert (sums[:, 5, 6] > problem.latency_ms[:, 5, 6]).all()
