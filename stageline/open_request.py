"""One accepted request until its result: its attempts so far, and why it would be late."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.frame_header import FrameFault
from schemas.plan import Plan
from schemas.stages import StagesHeld
from stageline.route_choice import RouteBoard


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt: over which route of which plan, and since when."""

    plan: Plan
    route: int
    at: float
    usual_s: float
    """By when nearly every answer over this route is there."""
    patience_s: float
    """How long its answer is waited for once the broker has it. Until then it is the bus that tries again."""
    broker_has_it_at: float = math.inf

    def passes(self, device: str) -> bool:
        """Whether its route leads over this device."""
        return device in self.plan.routes[self.route].devices

    def ends_on(self, device: str) -> bool:
        """Whether the last stage of its route is on this device."""
        return device == self.plan.routes[self.route].stages[-1].device


@dataclass(slots=True)
class OpenRequest:
    """A request that has no result yet. Times are local monotonic seconds."""

    name: str
    order: int
    accepted_at: float
    deadline: float
    attempts: list[Sent] = field(default_factory=list)
    under_way: bool = False
    """The last attempt is still waited for; otherwise the request waits to be sent."""
    timeouts: int = 0
    stage_failures: int = 0
    last_fault: FrameFault | None = None
    passed_over: str = ""
    """Why others went before it when it was its turn; empty when nobody did."""

    @property
    def heard_attempts(self) -> int:
        """Attempts that the broker took."""
        return sum(sent.broker_has_it_at < math.inf for sent in self.attempts)

    def why_unanswered(self) -> str:
        """After its last possible attempt."""
        return f"no answer after {len(self.attempts)} attempts{self._told_fault()}"

    def why_late(self, now: float, board: RouteBoard, held: Mapping[str, StagesHeld]) -> tuple[str, str]:
        """Reason and detail of a request whose deadline has passed, with what is served and held now."""
        waited = f"{now - self.accepted_at:.1f} s"
        if board.plan is None:
            return "no-plan", f"no plan is served; waited {waited}"
        if self.attempts:
            sent = self.attempts[-1]
            over = f"r{sent.route}: {sent.plan.routes[sent.route]} (generation {sent.plan.generation})"
            times = "once" if len(self.attempts) == 1 else f"{len(self.attempts)} times"
            return "deadline", f"no answer within {waited}; sent {times}, last over {over}{self._told_fault()}"
        away = sorted(device for device in board.plan.devices if device in held and not held[device].online)
        why = f"offline: {', '.join(away)}" if away else self.passed_over or board.why_not()
        return "deadline", f"could not be sent within {waited}; {why}"

    def _told_fault(self) -> str:
        fault = self.last_fault
        return f"; the last fault was {fault.code} on {fault.device or 'a device'}: {fault.detail}" if fault else ""
