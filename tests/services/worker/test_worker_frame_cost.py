"""What a frame costs a device, from what two sizes of frame cost it."""

import pytest

from models.library import Library
from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from services.planner.cost import DeviceFacts, HubFacts, problem_from
from services.worker.frame_cost import FrameCost, Visit, frame_cost

CORES = 0.5
SMALL, LARGE = 1_000, 1_000_000


def visit(bytes_in: int, bytes_out: int) -> Visit:
    """On a device that spends 0.4 ms of processor time on a visit, and 3 ms on each megabyte that it moves."""
    return Visit(bytes_in, bytes_out, 0.4e-3 + 3e-3 * (bytes_in + bytes_out) / 1e6)


def planner_predicts_ms(library: Library, cost: FrameCost) -> float:
    """Handling the frames of a stage that holds all of `dense`: 256 bytes in, 40 out."""
    card = library.card("dense")
    power = PowerModel(idle_w=1, busy_w=3, method="modelled", source="made up")
    device = DeviceFacts(
        info=DeviceInfo(
            device="pi4", boot_id="b", hostname="pi4", machine="test", architecture="x", cores=4, capacity_cores=CORES,
            memory_bytes=1 << 40, power=power,
        ),
        profile=Profile(
            device="pi4", boot_id="b", model=card.name, card_sha=card.sha256, backend="onnxruntime", threads=1,
            block_ms=(1.0,) * len(card.blocks), frame_ms=cost.frame_ms, frame_ms_per_mb=cost.frame_ms_per_mb,
            rounds=1, capacity_cores=CORES,
        ),
        link=LinkMeasure(rtt_ms=1, up_mbps=100, down_mbps=100, probe_bytes=1, age_s=0),
        memory_budget_bytes=1 << 40,
    )  # fmt: skip
    problem = problem_from(card, Deployment(deployment="cats", model=card.name, requested=1.0), [device], HubFacts())
    return float(problem.frame_ms[0, 0, -1])


def test_the_planner_predicts_what_was_measured(worker_library: Library) -> None:
    cost = frame_cost(visit(SMALL, SMALL), visit(LARGE, LARGE), CORES)
    measured_ms = visit(256, 40).cpu_s * 1000 / CORES
    assert planner_predicts_ms(worker_library, cost) == pytest.approx(measured_ms)
    assert cost.frame_ms_per_mb == pytest.approx(6.0)


def test_a_larger_frame_that_seemed_cheaper_makes_no_cost_negative() -> None:
    cost = frame_cost(Visit(SMALL, SMALL, 2e-3), Visit(LARGE, LARGE, 1e-3), 4.0)
    assert cost.frame_ms_per_mb == 0.0
    assert cost.frame_ms == pytest.approx(2.0)
