"""What a frame costs a device, from what two sizes of frame cost it."""

import pytest

from models.library import Library
from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from services.planner.cost import problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.worker.frame_cost import PROBE_BYTES, FrameCost, Visit, frame_cost, large_bytes, undisturbed
from services.worker.line import Beside

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


class Batches:
    """Batches of known cost; during each so many frames of other stages come, and so many are left under way."""

    def __init__(self, *batches: tuple[float, int, int]) -> None:
        self.measured: list[float] = []
        self._batches = iter(batches)
        self._beside = Beside(7, 0)

    async def batch(self) -> float:
        cost, came, left = next(self._batches)
        self._beside = Beside(self._beside.frames + came, left)
        self.measured.append(cost)
        return cost

    def beside(self) -> Beside:
        return self._beside


async def test_a_batch_that_other_frames_passed_during_is_measured_again() -> None:
    busy = Batches((5.0, 3, 1), (3.0, 0, 0), (2.0, 0, 0), (1.0, 0, 0))
    assert await undisturbed(busy.batch, busy.beside) == 2.0
    assert busy.measured == [5.0, 3.0, 2.0], "a frame left under way weighs on the next batch too"


async def test_where_frames_never_stop_the_least_of_a_few_batches_is_taken() -> None:
    busy = Batches(*((float(9 - i % 3), 1, 0) for i in range(100)))
    assert await undisturbed(busy.batch, busy.beside) == 7.0
    assert len(busy.measured) < 10


def test_a_fast_link_is_measured_with_the_largest_frames_and_a_slow_one_with_those_that_take_seconds():
    assert large_bytes(0.01, 1_000_000) == 1_000_000
    assert large_bytes(0.01, 400_000) == 400_000
    five_mbit_s = 40 * 2 * PROBE_BYTES / 625_000  # forty passes, each up and then down
    assert large_bytes(five_mbit_s, 1_000_000) == PROBE_BYTES
    hundred_mbit_s = five_mbit_s / 20
    assert PROBE_BYTES < large_bytes(hundred_mbit_s, 1_000_000) < 1_000_000
