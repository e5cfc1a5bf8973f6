"""A rollout told as a story: events in, what it asks for out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from schemas.deployment import Decision, Deployment
from schemas.parts import stage_id
from schemas.plan import Plan, Route
from schemas.plan_text import parse_route
from schemas.stages import HeldStage, StagesHeld, StageState
from services.planner.events import (
    Action,
    Drifted,
    Event,
    Held,
    Planned,
    PublishNext,
    Wanted,
)
from services.planner.patience import Patience
from services.planner.rollout import advance
from services.planner.rollout_state import Rollout

SHA = "a" * 64
PATIENCE = Patience(ready_s=10.0, retry_s=30.0, settle_s=1.0)
WISH = Deployment(deployment="cats", model="mobilenet_v2", requested=1.0)


def plan(text: str, generation: int = 1, deployment: str = "cats") -> Plan:
    routes: tuple[Route, ...] = tuple(parse_route(part) for part in text.split(" | "))
    return Plan(
        deployment=deployment, generation=generation, model="mobilenet_v2", card_sha=SHA, objective="latency",
        policy="exact", routes=routes,
    )  # fmt: skip


def decision(state: str = "preparing", *, generation: int = 0, requested: float = 1.0, error: str = "") -> Decision:
    return Decision.model_validate(
        {"deployment": "cats", "generation": generation, "requested": requested, "state": state, "error": error}
    )


def holding(
    device: str, of: Plan, state: StageState = "ready", *, progress: float = 1.0, error: str = "", boot: str = "b1"
) -> Held:
    stages = tuple(
        HeldStage(
            deployment=of.deployment, generation=of.generation, stage=stage_id(number, index), model=of.model,
            card_sha=of.card_sha, first=stage.first, last=stage.last, state=state, progress=progress, error=error,
        )
        for number, route in enumerate(of.routes)
        for index, stage in enumerate(route.stages)
        if stage.device == device
    )  # fmt: skip
    return Held(StagesHeld(device=device, boot_id=boot, online=True, stages=stages))


@dataclass
class Story:
    """Walks a rollout through events and keeps what it asked for."""

    rollout: Rollout = field(default_factory=lambda: Rollout("cats"))
    now_s: float = 0.0
    log: list[Action] = field(default_factory=list)

    def tell(self, *events: Event) -> list[Action]:
        said: list[Action] = []
        for event in events:
            self.rollout, actions = advance(self.rollout, event, now_s=self.now_s, patience=PATIENCE)
            said += actions
        self.log += said
        return said

    def planned(self, text: str) -> Plan:
        """Answer the question that is open now; gives the plan with its generation."""
        said = self.tell(Planned(self.rollout.ticket, plan(text), decision()))
        return one(said, PublishNext).plan


A = TypeVar("A")


def one(actions: Sequence[Action], kind: type[A]) -> A:
    found = [action for action in actions if isinstance(action, kind)]
    assert len(found) == 1, f"expected one {kind.__name__} in {actions}"
    return found[0]


def kinds(actions: Sequence[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


def served(text: str = "a[0:2) -> b[2:4)") -> Story:
    story = Story()
    story.tell(Wanted(WISH))
    made = story.planned(text)
    for device in made.devices:
        story.tell(holding(device, made))
    assert story.rollout.phase == "serving"
    return story


def serving(story: Story) -> Plan:
    assert story.rollout.current is not None
    return story.rollout.current


def drifted(story: Story, text: str, *, generation: int | None = None) -> list[Action]:
    """A review found this plan better than the one being served."""
    of = serving(story).generation if generation is None else generation
    told = decision().model_copy(update={"cause": "computing on b takes 21 ms, 10 ms when planned"})
    return story.tell(Drifted(of, plan(text), told))


def nothing(device: str) -> Held:
    return Held(StagesHeld(device=device, boot_id="b1", online=True))
