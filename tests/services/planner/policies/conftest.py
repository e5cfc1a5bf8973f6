"""Made-up planning problems, small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from services.planner.cost import Problem, problem_from
from services.planner.facts import DeviceFacts, HubFacts

NO_HUB = HubFacts(submitter_up_mbps=1e12, submitter_down_mbps=1e12)


def card(
    cut_bytes: Sequence[int],
    *,
    weight_bytes: Sequence[int] | None = None,
    macs: Sequence[int] | None = None,
    layer_cost: Sequence[int] | None = None,
) -> ModelCard:
    blocks = len(cut_bytes) - 1
    return ModelCard(
        name="made-up",
        source="test",
        graph=Blob(sha256="0" * 64, nbytes=1),
        blobs=(),
        blocks=tuple(
            Block(
                label=f"b{index}",
                first_node=index,
                last_node=index + 1,
                macs=macs[index] if macs else 1_000_000,
                layer_cost=layer_cost[index] if layer_cost else 1_000,
                weight_bytes=weight_bytes[index] if weight_bytes else 0,
                peak_activation_bytes=0,
            )
            for index in range(blocks)
        ),
        cuts=tuple(
            Cut(tensors=(TensorSpec(name=f"t{index}", dtype="float32", shape=(1, size // 4)),))
            for index, size in enumerate(cut_bytes)
        ),
        inputs=(TensorSpec(name="t0", dtype="float32", shape=(1, cut_bytes[0] // 4)),),
        outputs=(TensorSpec(name=f"t{blocks}", dtype="float32", shape=(1, cut_bytes[-1] // 4)),),
    )


def facts(
    name: str,
    block_ms: Sequence[float],
    *,
    mbps: tuple[float, float] = (1e12, 1e12),
    rtt_ms: float = 0.0,
    frame_ms: float = 0.0,
    frame_ms_per_mb: float = 0.0,
    cores: float = 1.0,
    watts: tuple[float, float] = (1.0, 5.0),
    measured: bool = False,
    budget: int = 1 << 40,
    free_share: float = 1.0,
    max_packet_bytes: int = 0,
) -> DeviceFacts:
    """`mbps` is (up, down), `watts` (idle, busy)."""
    power = PowerModel(idle_w=watts[0], busy_w=watts[1], method="measured" if measured else "modelled", source="test")
    return DeviceFacts(
        info=DeviceInfo(
            device=name, boot_id="b", hostname=name, machine="test", architecture="x", cores=4, capacity_cores=cores,
            memory_bytes=1 << 40, power=power,
        ),
        profile=Profile(
            device=name, boot_id="b", model="made-up", card_sha="0" * 64, backend="onnxruntime", threads=1,
            block_ms=tuple(map(float, block_ms)), frame_ms=frame_ms, frame_ms_per_mb=frame_ms_per_mb, rounds=1,
            capacity_cores=cores,
        ),
        link=LinkMeasure(rtt_ms=rtt_ms, up_mbps=mbps[0], down_mbps=mbps[1], probe_bytes=1, age_s=0.0),
        memory_budget_bytes=budget,
        free_share=free_share,
        max_packet_bytes=max_packet_bytes,
    )  # fmt: skip


def weights_only(model: ModelCard, first: int, last: int) -> int:
    return sum(block.weight_bytes for block in model.blocks[first:last])


def problem(
    devices: Sequence[DeviceFacts],
    cut_bytes: Sequence[int],
    *,
    weight_bytes: Sequence[int] | None = None,
    layer_cost: Sequence[int] | None = None,
    hub: HubFacts = NO_HUB,
    **wanted: Any,
) -> Problem:
    """A problem whose stages need just their weights; `wanted` are fields of the deployment."""
    deployment = Deployment(deployment="d", model="made-up", **wanted)
    model = card(cut_bytes, weight_bytes=weight_bytes, layer_cost=layer_cost)
    return problem_from(model, deployment, devices, hub, need=weights_only)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    return problem


@pytest.fixture(scope="session")
def make_device() -> Callable[..., DeviceFacts]:
    return facts


@pytest.fixture(scope="session")
def make_card() -> Callable[..., ModelCard]:
    return card
