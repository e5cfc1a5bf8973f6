"""`stageline bench planner`: how long the exact planner takes to decide, made-up model and fleet, no bus.

The case that counts: 8 devices that are all different, 50 places to cut, from facts to chosen plan (cost arrays
built, memory of every possible stage included). Timed under every objective; `exact_ms` is the slowest of them.
`bounded_ms` is throughput under latency bounds that bind, for which sets of devices must be bisected one by one.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from models.runtime import stage_memory_bytes
from schemas.deployment import Deployment
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from schemas.plan import Objective
from services.planner.cost import problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.policies.exact import Exact

DEVICES: Final = 8
CUTS: Final = 50
ROUNDS: Final = 9
QUICK_ROUNDS: Final = 1

_BOUNDS_MS: Final = (120.0, 150.0, 200.0)
_HUB: Final = HubFacts(submitter_up_mbps=900.0, submitter_down_mbps=900.0, hop_ms=0.5)
_MIB: Final = 1 << 20


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> dict[str, Any]:
    """Decide every case `ROUNDS` times.

    Returns:
        `exact_ms` and `bounded_ms`, medians of the slowest case without and with a latency bound, and `cases`: what
        was timed, in full.
    """
    whole = made_up_card(CUTS)
    need = stage_memory_bytes(whole, 0, len(whole.blocks))
    roomy, tight = 2 * need, need * 2 // 5
    goals: tuple[Objective, ...] = ("latency", "throughput", "energy", "cost")
    report = progress or (lambda _text, _share: None)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    report("without a latency bound", 0.0)
    free = [_case(goal, None, budget, rounds) for goal in goals for budget in (roomy, tight)]
    report("with one", 0.5)
    bounded = [_case("throughput", bound_ms, roomy, rounds) for bound_ms in _BOUNDS_MS]
    return {
        "exact_ms": max(case["exact_ms"] for case in free),
        "bounded_ms": max(case["exact_ms"] for case in bounded),
        "cases": free + bounded,
    }


def made_up_card(cuts: int, seed: int = 7) -> ModelCard:
    """A card with that many inner cut points, shaped like a convolutional classifier: cuts shrink, weights grow."""
    draw = random.Random(seed)  # noqa: S311 (a made-up model, not a secret)
    blocks = cuts + 1
    sizes = [
        150_528,
        *(round(draw.uniform(20_000, 900_000) * (1 - p / blocks) + 8_000) for p in range(1, blocks)),
        4_000,
    ]
    work = [
        (round(draw.uniform(2e6, 2e7)), round(_MIB * draw.uniform(0.2, 2) * (1 + i / blocks))) for i in range(blocks)
    ]
    return ModelCard(
        name="made-up",
        source="bench",
        graph=Blob(sha256="0" * 64, nbytes=1),
        blobs=(),
        blocks=tuple(
            Block(
                label=f"block {index}",
                first_node=3 * index,
                last_node=3 * index + 3,
                macs=macs,
                layer_cost=weight_bytes // 4,
                weight_bytes=weight_bytes,
                peak_activation_bytes=4 * _MIB,
            )
            for index, (macs, weight_bytes) in enumerate(work)
        ),
        cuts=tuple(
            Cut(tensors=(TensorSpec(name=f"t{index}", dtype="float32", shape=(1, size // 4)),))
            for index, size in enumerate(sizes)
        ),
        inputs=(TensorSpec(name="t0", dtype="float32", shape=(1, sizes[0] // 4)),),
        outputs=(TensorSpec(name=f"t{blocks}", dtype="float32", shape=(1, sizes[-1] // 4)),),
    )


def made_up_fleet(card: ModelCard, devices: int, budget_bytes: int, seed: int = 7) -> Sequence[DeviceFacts]:
    """Devices that are all different: the slowest about four times slower than the fastest, every link its own."""
    draw = random.Random(seed)  # noqa: S311 (a made-up model, not a secret)
    return [_device(card, index, 1 + 3 * index / max(1, devices - 1), budget_bytes, draw) for index in range(devices)]


def _case(objective: Objective, bound_ms: float | None, budget_bytes: int, rounds: int) -> dict[str, Any]:
    card = made_up_card(CUTS)
    devices = made_up_fleet(card, DEVICES, budget_bytes)
    wish = Deployment(deployment="bench", model=card.name, objective=objective, latency_bound_ms=bound_ms)
    took: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        choice = Exact().plan(problem_from(card, wish, devices, _HUB))
        took.append((time.perf_counter() - start) * 1e3)
    return {
        "devices": DEVICES,
        "cuts": CUTS,
        "objective": objective,
        "latency_bound_ms": bound_ms,
        "memory_budget_bytes": budget_bytes,
        "plan": str(choice),
        "exact_ms": statistics.median(took),
    }


def _device(card: ModelCard, index: int, slowness: float, budget_bytes: int, draw: random.Random) -> DeviceFacts:
    name = f"device-{index}"
    block_ms = tuple(block.macs / 5e6 * slowness * draw.uniform(0.8, 1.2) for block in card.blocks)
    return DeviceFacts(
        info=DeviceInfo(
            device=name, boot_id="bench", hostname=name, machine="made up", architecture="none", cores=4,
            capacity_cores=draw.choice([1.0, 4.0]), memory_bytes=budget_bytes,
            power=PowerModel(idle_w=2.0, busy_w=draw.uniform(4, 10), method="modelled", source="made up"),
        ),
        profile=Profile(
            device=name, boot_id="bench", model=card.name, card_sha="0" * 64, backend="onnxruntime", threads=1,
            block_ms=block_ms, frame_ms=0.4, frame_ms_per_mb=1.5, rounds=1, capacity_cores=1.0,
        ),
        link=LinkMeasure(
            rtt_ms=draw.uniform(0.5, 3), up_mbps=draw.uniform(60, 900), down_mbps=draw.uniform(60, 900),
            probe_bytes=1, age_s=0.0,
        ),
        memory_budget_bytes=budget_bytes,
    )  # fmt: skip
