"""Everything `stageline top` shows, folded from what is on the bus. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.accuracy import Accuracy, StageAccuracy
from schemas.deployment import Decision, HubStatus
from schemas.plan import Plan
from schemas.stages import HeldStage, StageTiming, Timing
from schemas.topics import (
    DEVICE_PROFILE,
    DEVICE_TIMING,
    HUB_STATUS,
    PLAN_ACCURACY,
    PLAN_CURRENT,
    PLAN_DECISION,
    Topic,
)
from services.planner.device import DEVICE_TOPICS, Device
from services.planner.fleet import Fleet
from services.planner.heartbeat import ANSWER_S, SILENT_S, STUCK_S
from stageline.deploying import stands

TOP_TOPICS: Final[tuple[Topic[Any], ...]] = (
    *(topic for topic in DEVICE_TOPICS if topic is not DEVICE_PROFILE), HUB_STATUS, PLAN_CURRENT, PLAN_DECISION,
    PLAN_ACCURACY,
)  # fmt: skip
_STALE_PERIODS: Final = 3.0


@dataclass(frozen=True, slots=True)
class ExitNow:
    """One exit of a deployment: shares of all requests."""

    name: str
    expected: float
    """That were to leave there, when the plan was made,"""
    now: float | None
    """and that did, in the last period; None when there were no requests."""

    @property
    def text(self) -> str:
        """`exit1 62% (expected 40%)`."""
        return f"{self.name} {'-' if self.now is None else f'{self.now:.0%}'} (expected {self.expected:.0%})"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known; `timings` with the local time at which each was heard, s."""

    fleet: Fleet = field(default_factory=Fleet)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    accuracies: Mapping[str, Accuracy] = field(default_factory=dict)
    hub: HubStatus | None = None
    timings: Mapping[str, tuple[Timing, float]] = field(default_factory=dict)
    began_s: float = 0.0
    """Local time since when everybody's words are heard."""

    def with_message(
        self, topic: Topic[Any], parameters: Mapping[str, str], message: Any | None, *, retained: bool, now_s: float
    ) -> Picture:
        """The picture after one message (None: its topic was cleared)."""
        if topic is DEVICE_TIMING and message is not None:
            return replace(self, timings={**self.timings, message.device: (message, now_s)})
        if topic is HUB_STATUS:
            return replace(self, hub=message)
        if topic is PLAN_CURRENT:
            return replace(self, plans=_put(self.plans, parameters["deployment"], message))
        if topic is PLAN_DECISION:
            told = None if message is None or message.state == "removed" else message
            return replace(self, decisions=_put(self.decisions, parameters["deployment"], told))
        if topic is PLAN_ACCURACY:
            return replace(self, accuracies=_put(self.accuracies, parameters["deployment"], message))
        return replace(self, fleet=self.fleet.with_message(topic, parameters, message, retained=retained))

    def timing(self, device: str, now_s: float) -> Timing | None:
        """What a worker said of its last period, while that is recent."""
        timing, heard_s = self.timings.get(device, (None, 0.0))
        return timing if timing and now_s - heard_s <= _STALE_PERIODS * max(1.0, timing.period_s) else None

    def stage_timing(self, device: str, held: HeldStage, now_s: float) -> StageTiming | None:
        """What its worker said of one stage that it holds, while that is recent."""
        timing = self.timing(device, now_s)
        key = (held.deployment, held.generation, held.stage)
        stages = timing.stages if timing else ()
        return next((one for one in stages if (one.deployment, one.generation, one.stage) == key), None)

    @property
    def deployments(self) -> tuple[str, ...]:
        """All that are asked for or served."""
        return tuple(sorted({*self.plans, *self.decisions}))

    def error(self, deployment: str) -> str:
        """Why the planner has no plan for what is asked for; empty when it has."""
        decision = self.decisions.get(deployment)
        return decision.error or "no reason given" if decision is not None and decision.state == "failed" else ""

    def served(self, deployment: str) -> Plan | None:
        """The plan that serves; one that there is no plan after only while it stands."""
        plan = self.plans.get(deployment)
        workers = (device.worker for device in self.fleet.devices.values() if device.worker is not None)
        return plan if plan is not None and (not self.error(deployment) or stands(plan, workers)) else None

    def left(self, deployment: str, now_s: float) -> tuple[ExitNow, ...]:
        """Where requests to a deployment left in the last period, of those that its workers told of."""
        plan = self.served(deployment)
        if plan is None or not plan.exits:
            return ()
        timings = [one for device in plan.devices if (one := self.timing(device, now_s)) is not None]
        stages = [
            one
            for timing in timings
            for one in timing.stages
            if (one.deployment, one.generation) == (deployment, plan.generation)
        ]
        began = sum(one.frames for one in stages if one.stage.endswith("s0"))
        gone: Counter[str] = Counter()
        for stage in stages:
            gone.update({seen.name: seen.left for seen in stage.exits})
        return tuple(
            ExitNow(rule.name, rule.share, min(1.0, gone[rule.name] / began) if began else None) for rule in plan.exits
        )

    def accuracy(self, deployment: str) -> Accuracy | None:
        """How true the predictions of the plan that is served are."""
        plan, accuracy = self.served(deployment), self.accuracies.get(deployment)
        return accuracy if plan and accuracy and accuracy.generation == plan.generation else None

    def stage_accuracy(self, held: HeldStage) -> StageAccuracy | None:
        """One stage's predicted and measured time, where it is of the plan that is served."""
        accuracy = self.accuracy(held.deployment)
        if accuracy is None or accuracy.generation != held.generation:
            return None
        return next((one for one in accuracy.stages if one.stage == held.stage), None)

    def silent_s(self, device: str, now_s: float) -> float:
        """How long a worker that should speak every second has not, s; 0 while that is no news."""
        _, heard_s = self.timings.get(device, (None, self.began_s))
        silent_s = now_s - max(heard_s, self.began_s)
        return silent_s if silent_s >= SILENT_S else 0.0

    def state(self, device: Device, now_s: float) -> tuple[str, str]:
        """A device's condition in a few words, and how good that is: green, yellow or red."""
        if not device.online:
            return "offline", "red"
        return (
            self._hanging(device.name, now_s)
            or _restricted(device)
            or (("online", "green") if device.usable else (device.absence, "yellow"))
        )

    def _hanging(self, device: str, now_s: float) -> tuple[str, str] | None:
        if silent_s := self.silent_s(device, now_s):
            return f"silent {silent_s:.0f} s", "red" if silent_s >= SILENT_S + ANSWER_S else "yellow"
        timing = self.timing(device, now_s)
        if timing is not None and timing.stuck_s > STUCK_S:
            return f"stuck {timing.stuck_s:.0f} s", "red"
        return None


def _restricted(device: Device) -> tuple[str, str] | None:
    if device.draining:
        return "draining" if device.worker is not None and device.worker.stages else "drained", "yellow"
    if device.stale:
        return "no monitor", "yellow"
    throttling = device.telemetry.throttling if device.telemetry else None
    if throttling and (throttling.throttled or throttling.under_voltage or throttling.frequency_capped):
        return "throttled", "yellow"
    return None


def _put(mapping: Mapping[str, Any], key: str, value: Any | None) -> dict[str, Any]:
    rest = {name: kept for name, kept in mapping.items() if name != key}
    return rest if value is None else {**rest, key: value}
