"""How long planning takes, and how far plans are from the bound, for made-up fleets of 4 to 1000 unequal devices.

Every device has its own speed (the slowest is four times slower than the fastest, and each is better at some blocks
than at others), link and memory. The submitter's and the hub's links are no limit here: they would hide the fleet.
With `roomy` memory every device could hold the model, with `tight` memory none could, and pipelines must be found.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bench.context import Context
from bench.statistics import median, spread
from models.runtime import stage_memory_bytes
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Objective
from services.planner.bound import stage_bound_rps
from services.planner.cost import problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.one_route import EXACT_DEVICES
from services.planner.policies import find_policy
from services.planner.policy import Choice
from stageline.benches.planner import made_up_card, made_up_fleet

CUTS: Final = 50
MODEL: Final = "mobilenet_v2"
SIZES: Final = (4, 8, 16, 50, 100, 300, 1000)
ROUNDS: Final = 3
_UNLIMITED: Final = HubFacts(submitter_up_mbps=1e9, submitter_down_mbps=1e9)
_SEED: Final = 7


@dataclass(frozen=True)
class Case:
    """One fleet, one wish, one policy, and what came of it in each round."""

    card: ModelCard
    fleet: Sequence[DeviceFacts]
    memory: str
    objective: Objective
    policy: str
    choices: list[Choice] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def wish(self) -> Deployment:
        """What is planned for."""
        return Deployment(deployment="bench", model=self.card.name, objective=self.objective, policy=self.policy)


def run(context: Context) -> dict[str, Any]:
    """Plan every case once per round, in turns, from what is known of the devices to the chosen routes.

    Returns:
        `{"planning": [{"devices", "model", "cuts", "policy", "objective", "memory", "planning_ms", "planning_spread",
        "planning_cpu_ms", "bound_rps", "throughput_rps", "gap", "gap_pct", "proved_bound_rps", "latency_ms", "routes",
        "longest_route"}]}`. `bound_rps` is `sum_i 1 / T_i`; `gap` is the share of it that is missing, below 0 where
        pipelines of devices that are good at different blocks pass it. `proved_bound_rps` is one that no plan can
        pass. Bounds and gap are there for objective throughput.
    """
    cases = list(_cases(context))
    rounds = 1 if context.quick else ROUNDS
    for number in range(rounds):
        for place, case in enumerate(cases):
            _plan_once(context, case)
            context.progress(f"{len(case.fleet)} devices", (number * len(cases) + place + 1) / (rounds * len(cases)))
    return {"planning": [_row(case) for case in cases]}


def _cases(context: Context) -> Iterator[Case]:
    cards = [made_up_card(CUTS)] if context.quick else [made_up_card(CUTS), context.card(MODEL)]
    for card in cards:
        for devices in SIZES:
            for memory in ("roomy", "tight"):
                fleet = unequal_fleet(card, devices, memory)
                for policy in ("exact", "large-fleet") if devices <= EXACT_DEVICES else ("large-fleet",):
                    yield Case(card, fleet, memory, "throughput", policy)
                    yield Case(card, fleet, memory, "latency", policy)


def unequal_fleet(card: ModelCard, devices: int, memory: str) -> tuple[DeviceFacts, ...]:
    """A made-up fleet whose devices could all hold the model ("roomy"), or none of them ("tight")."""
    blocks = len(card.blocks)
    whole = stage_memory_bytes(card, 0, blocks)
    largest = max(stage_memory_bytes(card, block, block + 1) for block in range(blocks))
    draw = random.Random(_SEED)  # noqa: S311 (a made-up fleet, not a secret)
    # Where a block takes nearly all of the memory, few devices could hold it: the range begins well above it.
    low, high = (1.1, 3.0) if memory == "roomy" else (max(0.3, min(0.9, 1.2 * largest / whole)), 0.95)
    return tuple(
        replace(device, memory_budget_bytes=round(whole * draw.uniform(low, high)))
        for device in made_up_fleet(card, devices, 2 * whole)
    )


def _plan_once(context: Context, case: Case) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    choice = find_policy(case.policy).plan(problem_from(case.card, case.wish, case.fleet, _UNLIMITED))
    case.took_ms.append((time.perf_counter() - start) * 1e3)
    case.cpu_ms.append((time.process_time() - cpu) * 1e3)
    case.choices.append(choice)
    context.raw(
        "planning",
        {
            "devices": len(case.fleet), "model": case.card.name, "policy": case.policy, "objective": case.objective,
            "memory": case.memory, "planning_ms": case.took_ms[-1], "planning_cpu_ms": case.cpu_ms[-1],
            "throughput_rps": choice.predicted.throughput_rps, "bound_rps": choice.bound_rps,
        },
    )  # fmt: skip


def _row(case: Case) -> dict[str, Any]:
    choice = case.choices[-1]
    problem = problem_from(case.card, case.wish, case.fleet, _UNLIMITED)
    gap = None if choice.bound_rps is None else 1 - choice.predicted.throughput_rps / choice.bound_rps
    return {
        "devices": len(case.fleet),
        "model": case.card.name,
        "cuts": len(problem.positions) - 2,
        "policy": case.policy,
        "objective": case.objective,
        "memory": case.memory,
        "planning_ms": median(case.took_ms),
        "planning_spread": spread(case.took_ms),
        "planning_cpu_ms": median(case.cpu_ms),
        "bound_rps": choice.bound_rps,
        "throughput_rps": choice.predicted.throughput_rps,
        "gap": gap,
        "gap_pct": None if gap is None else 100 * gap,
        "proved_bound_rps": None if gap is None else stage_bound_rps(problem),
        "latency_ms": choice.predicted.latency_ms,
        "routes": len(choice.routes),
        "longest_route": max(len(route.stages) for route in choice.routes),
    }
