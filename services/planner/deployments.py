"""Carries deployments out: feeds each one's rollout with what happens, and does what it asks for, in order.

Everything that happens goes through one queue, so that a rollout never sees two things at once and its messages go
out in the order in which it decided them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from broker.bus import Bus
from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.stages import StagesHeld
from schemas.topics import DEPLOYMENT, PLAN_DECISION
from services.planner.events import (
    Action,
    Decide,
    Drifted,
    Event,
    Forget,
    Held,
    Improved,
    Lost,
    Squeeze,
    Squeezed,
    Tell,
    Tick,
    Unfit,
    Wanted,
)
from services.planner.fleet import Fleet
from services.planner.happenings import Happenings
from services.planner.kept import read, read_kept
from services.planner.patience import Patience
from services.planner.plan_topics import say
from services.planner.resuming import highest_generation, resume
from services.planner.rollout import advance
from services.planner.rollout_state import Rollout, longest_step_ms, uses_of
from services.planner.sharing import Use

logger = logging.getLogger(__name__)

TICK_S: Final = 0.25
MOST_DEPLOYMENTS: Final = 64
"""At a time: each is planned, reviewed and told about."""

MOST_REMEMBERED: Final = 4096
"""Deployments that are gone, of which it is remembered how far their generations went."""


class Decider(Protocol):
    """Makes plans (`services.planner.decide`); told what it should look at, it tells what it found."""

    async def decide(self, question: Decide, uses: Sequence[Use], tell: Tell) -> None:
        """Answer by `Planned` or `Refused`, with `Profiling` before it when devices must measure first."""


class Deployments:
    """All rollouts. Methods that report something return at once; `run` does the work."""

    def __init__(self, bus: Bus, decider: Decider, patience: Patience) -> None:
        self._bus = bus
        self._decider = decider
        self._patience = patience
        self._rollouts: dict[str, Rollout] = {}
        self._happened = Happenings()
        self._generations: dict[str, int] = {}
        self._deciding: dict[str, asyncio.Task[None]] = {}
        self._owed: list[tuple[str, tuple[Action, ...]]] = []

    @property
    def wishes(self) -> Mapping[str, Deployment]:
        """What is wanted now, by name of the deployment."""
        return {name: rollout.wish for name, rollout in self._rollouts.items() if rollout.wish is not None}

    @property
    def serving(self) -> Mapping[str, Plan]:
        """The plans being served, by name of the deployment."""
        return {name: rollout.current for name, rollout in self._rollouts.items() if rollout.current is not None}

    @property
    def uses(self) -> tuple[Use, ...]:
        """Which devices each deployment uses, or is about to."""
        return uses_of(self._rollouts.values())

    @property
    def settled(self) -> tuple[Rollout, ...]:
        """Deployments that are served by a plan of their present wish, with nothing under way."""
        return tuple(one for one in self._rollouts.values() if one.phase == "serving" and one.stands)

    def longest_step_ms(self, device: str) -> float:
        """The longest step of work that a plan has for a device; frames handled together count together."""
        return longest_step_ms(self._rollouts.values(), device)

    def drifted(self, deployment: str, generation: int, plan: Plan, decision: Decision) -> None:
        """A review found a plan worth moving to from the one of `generation`."""
        self._happened.put(deployment, Drifted(generation, plan, decision))

    def unfit(self, deployment: str, generation: int, device: str, why: str) -> None:
        """A device does not do its part of the plan of `generation`."""
        self._happened.put(deployment, Unfit(generation, device, why))

    def wanted(self, deployment: str, wish: Deployment | None) -> None:
        """A wish was published, or taken back."""
        self._happened.put(deployment, Wanted(wish))

    def held(self, held: StagesHeld) -> None:
        """A worker said what it holds."""
        self._happened.put(None, Held(held))

    def lost(self, device: str, why: str) -> None:
        """A device cannot be counted on any more, or lost what it held."""
        self._happened.put(None, Lost(device, why))

    def improved(self, device: str | None = None) -> None:
        """A device became usable or measured a model, or the library has changed."""
        self._happened.put(None, Improved(device))

    def tick(self) -> None:
        """Time passed."""
        self._happened.put(None, Tick())

    async def adopt(self, fleet: Fleet, cards: Mapping[str, ModelCard]) -> None:
        """Continue from what the broker kept: good plans stay as they are. `run` then does what is left to do."""
        for name, kept in (await read_kept(self._bus, most=MOST_DEPLOYMENTS)).items():
            card = cards.get(kept.wish.model) if kept.wish else None
            self._rollouts[name], owed = resume(
                name,
                replace(kept, generation=highest_generation(name, kept, fleet)),
                card_sha=card.sha256 if card else None,
                usable=frozenset(fleet.usable),
                now_s=time.monotonic(),
            )
            self._owed.append((name, owed))
            logger.info("adopted", extra={"deployment": name, "phase": self._rollouts[name].phase})
        for name, told in (await read(self._bus, PLAN_DECISION)).items():
            if name not in self._rollouts:
                self._remember(name, told.generation)
        for device in fleet.devices.values():
            if device.worker is not None:
                self.held(device.worker)

    async def remind(self) -> None:
        """After a reconnect: wishes that the broker forgot in a restart are ours to publish again.

        One that was taken back in those moments comes back too; that is better than losing one to a broker's crash.
        """
        there = await read(self._bus, DEPLOYMENT)
        for name, wish in self.wishes.items():
            if name not in there:
                await self._bus.publish(DEPLOYMENT, wish, remember=False, deployment=name)

    async def run(self) -> None:
        """Work through what happens, until cancelled. Decisions under way end with it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_ticking(), name="tick")
            for deployment, owed in self._owed:
                await self._perform(deployment, owed, tasks)
            while True:
                name, event = await self._happened.take()
                if name is not None and not self._admits(name):
                    continue
                for deployment in [name] if name is not None else list(self._rollouts):
                    rollout, actions = advance(
                        self._rollouts[deployment], event, now_s=time.monotonic(), patience=self._patience
                    )
                    self._rollouts[deployment] = rollout
                    await self._perform(deployment, actions, tasks)

    def _admits(self, name: str) -> bool:
        """Whether a deployment has a rollout; a new one gets one while there is room, or that of one removed."""
        if name in self._rollouts:
            return True
        if len(self._rollouts) >= MOST_DEPLOYMENTS:
            removed = next(
                (old for old, one in self._rollouts.items() if one.wish is None and one.current is None), None
            )
            if removed is None:
                why = f"{MOST_DEPLOYMENTS} are served or asked for already: take one back first (`stageline undeploy`)"
                self._bus.dropped("crowded", DEPLOYMENT.address(deployment=name), why)
                return False
            self._remember(removed, self._rollouts.pop(removed).generation)
        self._rollouts[name] = Rollout(name, generation=self._generations.pop(name, 0))
        return True

    def _remember(self, gone: str, generation: int) -> None:
        """A deployment that comes back continues from the generation that it had."""
        self._generations[gone] = max(generation, self._generations.pop(gone, 0))
        if len(self._generations) > MOST_REMEMBERED:
            del self._generations[next(iter(self._generations))]

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    async def _perform(self, name: str, actions: Iterable[Action], tasks: asyncio.TaskGroup) -> None:
        for action in actions:
            match action:
                case Decide():
                    self._forget(name)
                    tell = partial(self._answered, name)
                    work = self._decider.decide(action, self.uses, tell)
                    self._deciding[name] = tasks.create_task(work, name=f"decide {name}")
                case Forget():
                    self._forget(name)
                case Squeeze():
                    for other in action.deployments:
                        self._answered(other, Squeezed(name))
                case _:
                    await say(self._bus, name, action)

    def _answered(self, name: str, answer: Event) -> None:
        self._happened.put(name, answer)

    def _forget(self, name: str) -> None:
        if name in self._deciding:
            self._deciding.pop(name).cancel()
