"""A fleet that is not there: true speeds, loads and links, and the noisy telemetry and timings they would give."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.deployment import Deployment
from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from schemas.parts import stage_id
from schemas.plan import Plan
from schemas.stages import HeldStage, StagesHeld, StageTiming, Timing
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TIMING,
    MODEL_CARD,
    PLAN_CURRENT,
    Topic,
)
from services.planner.adaptation import Adaptation, due
from services.planner.careful import careful
from services.planner.complete import plan_of
from services.planner.cost import problem_from
from services.planner.drift import Rules
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.review import Review, best_plan

PROBE_EVERY_S = 15
MONITOR_CPU = 0.02

Said = tuple[Topic[Any], dict[str, str], Any]


@dataclass(frozen=True)
class Truth:
    """How one device really is."""

    block_ms: float
    """Of every block, at rest, with the capacity it was profiled with."""
    others: float = 0.0
    """Share of its capacity that others want; one who always wants it takes half."""
    slowdown: float = 1.0
    """That nothing explains."""
    cores: float = 1.0
    profiled_cores: float = 1.0
    mbps: float = 200.0
    rtt_ms: float = 1.0
    memory_bytes: int = 1 << 30

    @property
    def ours(self) -> float:
        """Share of its capacity that we get when we want it all."""
        return max(0.5, 1 - self.others)

    @property
    def stretch(self) -> float:
        """Times longer than the profile says."""
        return self.slowdown * min(1.0, self.profiled_cores) / min(1.0, self.cores) / self.ours


def small_card(blocks: int = 8, *, cut_bytes: int = 100_000, weight_bytes: int = 1_000_000) -> ModelCard:
    """Equal blocks, equal cuts, each with a blob of its own."""
    cut = Cut(tensors=(TensorSpec(name="x", dtype="float32", shape=(1, cut_bytes // 4)),))
    return ModelCard(
        name="net", source="made up", graph=Blob(sha256="0" * 64, nbytes=100),
        blobs=tuple(Blob(sha256=f"{n:064x}", nbytes=weight_bytes) for n in range(blocks)),
        blocks=tuple(
            Block(
                label=f"b{n}", first_node=n, last_node=n + 1, macs=1000, weight_bytes=weight_bytes,
                peak_activation_bytes=cut_bytes, layer_cost=100, blobs=(n,),
            )
            for n in range(blocks)
        ),
        cuts=(cut,) * (blocks + 1), inputs=cut.tensors, outputs=cut.tensors,
    )  # fmt: skip


@dataclass
class Simulation:
    """A planner that adapts over a fleet whose truth a test changes."""

    truth: dict[str, Truth]
    wish: Deployment
    card: ModelCard = field(default_factory=small_card)
    seed: int = 0
    noise: float = 0.15
    """Standard deviation of everything that is said, as a share of it."""
    rate_rps: float = 20.0
    rules: Rules = field(default_factory=Rules)
    hub: HubFacts = field(default_factory=HubFacts)
    on_said: Callable[[float, Said], None] = lambda _now_s, _said: None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sha = self.card.sha256
        self.now_s = 0.0
        self.fleet = Fleet()
        self.adaptation = Adaptation()
        self.moves: list[tuple[float, Plan, Review]] = []
        self.plan: Plan | None = None
        self._links: dict[str, tuple[float, LinkMeasure]] = {}
        self._sequence = 0
        self._say((MODEL_CARD, {"model": "net"}, self.card))
        for name in self.truth:
            self._join(name)
        self._say((DEPLOYMENT, {"deployment": self.wish.deployment}, self.wish))
        for _ in range(5):
            self._second()
        best = best_plan(problem_from(self.card, self.wish, self.facts(), self.hub), careful(self.wish.policy), {})
        self._serve(plan_of(self.card, self.wish, best, generation=1, policy=self.wish.policy))

    def run(self, seconds: int) -> None:
        """So long, with a review each second; a move takes effect at once."""
        for _ in range(seconds):
            self._second()
            assert self.plan is not None
            question = self.adaptation.question(
                wish=self.wish, card=self.card, rest=self._rest(), serving=self.plan, fleet=self.fleet, hub=self.hub,
                now_s=self.now_s,
            )  # fmt: skip
            self.adaptation, found, move = due(self.adaptation, question, now_s=self.now_s, rules=self.rules)
            if move and found is not None:
                plan = plan_of(
                    self.card, self.wish, found.best, generation=self.plan.generation + 1, policy=self.wish.policy
                )
                self._serve(plan)
                self.moves.append((self.now_s, plan, found))

    def change(self, device: str, **truth: Any) -> None:
        """From now on."""
        self.truth[device] = replace(self.truth[device], **truth)

    def facts(self) -> Sequence[DeviceFacts]:
        """As the planner has them now."""
        return self.adaptation.adjusted(self._rest(), self.sha, now_s=self.now_s)

    def _rest(self) -> list[DeviceFacts]:
        found = ((device, device.profile_of("net", self.sha)) for device in self.fleet.usable.values())
        return [facts_of(device, profile, self.wish.deployment) for device, profile in found if profile is not None]

    def _serve(self, plan: Plan) -> None:
        self.plan = plan
        for name in self.truth:
            self._tell_stages(name)
        self._say((PLAN_CURRENT, {"deployment": plan.deployment}, plan))

    def _say(self, said: Said) -> None:
        topic, parameters, message = said
        serving: Mapping[str, Plan] = {} if self.plan is None else {self.wish.deployment: self.plan}
        self.adaptation = self.adaptation.heard(
            topic, parameters, message, now_s=self.now_s, fleet=self.fleet, serving=serving
        )
        self.fleet = self.fleet.with_message(topic, parameters, message)
        self.on_said(self.now_s, said)

    def _join(self, name: str) -> None:
        true, at = self.truth[name], {"device": name}
        self._say((DEVICE_STATUS, at, DeviceStatus(device=name, boot_id="m", online=True)))
        info = DeviceInfo(
            device=name, boot_id="m", hostname=name, machine="made up", architecture="none", cores=1,
            capacity_cores=true.profiled_cores, memory_bytes=1 << 31,
            power=PowerModel(idle_w=1, busy_w=3, method="modelled", source="made up"),
        )  # fmt: skip
        self._say((DEVICE_INFO, at, info))
        self._tell_stages(name)
        profile = Profile(
            device=name, boot_id="w", model="net", card_sha=self.sha, backend="onnxruntime", threads=1,
            block_ms=(true.block_ms,) * len(self.card.blocks), frame_ms=0.3, frame_ms_per_mb=1.0, rounds=5,
            capacity_cores=true.profiled_cores,
        )  # fmt: skip
        self._say((DEVICE_PROFILE, {**at, "model": "net"}, profile))

    def _tell_stages(self, name: str) -> None:
        stages = tuple(
            HeldStage(
                deployment=self.plan.deployment, generation=self.plan.generation, stage=stage_id(route, place),
                model="net", card_sha=self.sha, first=stage.first, last=stage.last, state="ready",
            )
            for route, place, stage in self._stages_of(name)
            if self.plan is not None
        )  # fmt: skip
        held = StagesHeld(
            device=name, boot_id="w", online=True, memory_budget_bytes=self.truth[name].memory_bytes, stages=stages
        )
        self._say((DEVICE_STAGES, {"device": name}, held))

    def _stages_of(self, name: str) -> list[tuple[int, int, Any]]:
        routes = self.plan.routes if self.plan is not None else ()
        return [
            (number, place, stage)
            for number, route in enumerate(routes)
            for place, stage in enumerate(route.stages)
            if stage.device == name
        ]

    def _second(self) -> None:
        self.now_s += 1.0
        self._sequence += 1
        for name, true in self.truth.items():
            self._say((DEVICE_TIMING, {"device": name}, self._timing(name, true)))
            self._say((DEVICE_TELEMETRY, {"device": name}, self._telemetry(name, true)))

    def _timing(self, name: str, true: Truth) -> Timing:
        share = self._share(name, true)
        stages = tuple(
            StageTiming(
                deployment=self.wish.deployment, generation=self.plan.generation, stage=stage_id(route, place),
                frames=round(self.rate_rps * self._weight(route)), wait_ms=0.0, codec_ms=0.0,
                compute_ms=self._noisy((stage.last - stage.first) * true.block_ms * true.stretch),
                bytes_in=round(self.rate_rps * self._weight(route) * 100_000),
                bytes_out=round(self.rate_rps * self._weight(route) * 100_000),
            )
            for route, place, stage in self._stages_of(name)
            if self.plan is not None
        )  # fmt: skip
        return Timing(
            device=name, boot_id="w", period_s=1.0, queue_depth=0, cpu_s=self._noisy(share * true.cores), stages=stages
        )

    def _telemetry(self, name: str, true: Truth) -> Telemetry:
        ours = self._share(name, true)
        busy = min(1.0, ours + min(true.others, max(1 - ours, 0.5)) + MONITOR_CPU / true.cores)
        return Telemetry(
            device=name, boot_id="m", sequence=self._sequence, unix_time=self.now_s,
            load=min(1.0, max(0.0, self._noisy(busy))), capacity_cores=true.cores, memory_free_bytes=1 << 30,
            memory_bytes=1 << 31, link=self._link(name, true), monitor_cpu=MONITOR_CPU,
            power=Power(watts=1, method="modelled", source="made up"),
        )  # fmt: skip

    def _share(self, name: str, true: Truth) -> float:
        """Of its capacity that our stages use."""
        work_ms = sum(
            (stage.last - stage.first) * true.block_ms * self._weight(route) * true.slowdown
            for route, _, stage in self._stages_of(name)
        )
        wanted = self.rate_rps * work_ms / 1e3 * min(1.0, true.profiled_cores) / min(1.0, true.cores)
        return min(true.ours, wanted)

    def _weight(self, route: int) -> float:
        return self.plan.routes[route].weight if self.plan is not None else 0.0

    def _link(self, name: str, true: Truth) -> LinkMeasure:
        """Measured now and then; in between its age grows."""
        at_s, link = self._links.get(name, (-math.inf, None))
        if link is None or self.now_s - at_s >= PROBE_EVERY_S:
            own_mbps = sum(self.rate_rps * self._weight(route) * 0.8 for route, _, _ in self._stages_of(name))
            left = max(true.mbps / 2, true.mbps - own_mbps)
            link = LinkMeasure(
                rtt_ms=self._noisy(true.rtt_ms), up_mbps=self._noisy(left), down_mbps=self._noisy(left),
                probe_bytes=1 << 18, age_s=0.0,
            )  # fmt: skip
            at_s = self.now_s
            self._links[name] = at_s, link
        return link.model_copy(update={"age_s": self.now_s - at_s})

    def _noisy(self, value: float) -> float:
        return value * min(2.0, max(0.3, self.random.gauss(1.0, self.noise)))
