"""From a wish to a plan: who may serve, what they measured, what the policy chooses, and why."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from broker.bus import Bus
from broker.connection import BrokerUnreachableError
from models.library import NotInLibraryError
from schemas.deployment import Decision, Deployment
from schemas.device import Command, Profile
from schemas.model import ModelCard
from schemas.plan import Plan
from schemas.topics import DEVICE_COMMAND
from services.planner.certainty import Cautious
from services.planner.complete import choose, lines_of, to_plan
from services.planner.cost import NoDeviceError, Problem, problem_from
from services.planner.deployments import Tell
from services.planner.device import Device
from services.planner.errors import InfeasibleError, PlanningError
from services.planner.events import Decide, Planned, Profiling, Refused
from services.planner.explain import explain
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.flow import objective
from services.planner.library_server import LibraryServer
from services.planner.policies import OWN_POLICIES, find_policy
from services.planner.policy import Choice
from services.planner.watch import FleetWatch

logger = logging.getLogger(__name__)

KEEP_MARGIN: Final = 0.05
"""After a loss, surviving routes are kept unless another plan is better by more than this share."""


ASK_AGAIN_S: Final = 1.0
"""After a question that nobody heard: a worker that lost its connection is back within seconds."""
_TEXT_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan is made from: measured devices, and why others were left out."""

    card: ModelCard
    devices: Mapping[str, tuple[Device, Profile]]
    left_out: Mapping[str, str]


class Decider:
    """Answers `Decide` questions; asks devices to measure first where nobody knows how fast they are."""

    def __init__(
        self, bus: Bus, watch: FleetWatch, library: LibraryServer, hub: HubFacts, *, profile_timeout_s: float
    ) -> None:
        self._bus = bus
        self._watch = watch
        self._library = library
        self._hub = hub
        self._profile_timeout_s = profile_timeout_s
        self._asked: dict[tuple[str, str, str], float] = {}

    async def decide(self, question: Decide, tell: Tell) -> None:
        """Tell `Planned` or `Refused`; `Profiling` before it while devices measure."""
        left_out = dict(question.excluded)
        try:
            ground = await self._ground(question, left_out, tell)
            plan, decision = await asyncio.to_thread(make_plan, question, ground, self._hub)
        except (PlanningError, NotInLibraryError) as error:
            tell(Refused(question.ticket, failure(question.wish, str(error), left_out)))
        except (ValueError, ArithmeticError) as error:
            # What devices say of themselves is bounded, not vouched for: numbers nobody thought of end one decision.
            logger.exception("no decision", extra={"deployment": question.wish.deployment})
            tell(Refused(question.ticket, failure(question.wish, f"planning failed: {error}", left_out)))
        else:
            tell(Planned(question.ticket, plan, decision))

    async def _ground(self, question: Decide, left_out: dict[str, str], tell: Tell) -> Ground:
        """Who may serve, as measured; `left_out` learns who may not, and why."""
        wish = question.wish
        card = await self._card(wish.model)
        fleet = self._watch.fleet
        absent = {name: device.absence for name, device in fleet.devices.items() if not device.usable}
        left_out |= absent | dict.fromkeys(wish.exclude, "excluded") | dict(question.excluded)
        candidates = [name for name in fleet.usable if name not in left_out]
        if not candidates:
            raise NoDeviceError(no_device(wish, left_out))
        profiles = await self._measured(question, card, candidates, tell)
        usable = self._watch.fleet.usable
        for name in set(candidates) - profiles.keys():
            left_out[name] = f"did not measure {wish.model} within {self._profile_timeout_s:g} s"
        devices = {name: (usable[name], profiles[name]) for name in candidates if name in usable and name in profiles}
        if not devices:
            raise NoDeviceError(no_device(wish, left_out))
        return Ground(card, devices, dict(left_out))

    async def _card(self, model: str) -> ModelCard:
        await self._library.scan()
        if model not in self._library.cards:
            raise NotInLibraryError(model, sorted(self._library.cards))
        return self._library.cards[model]

    async def _measured(
        self, question: Decide, card: ModelCard, candidates: Sequence[str], tell: Tell
    ) -> dict[str, Profile]:
        """Block times of every candidate that has them, after asking those that have not."""
        sha = card.sha256
        before = self._watch.fleet.devices
        known = {name: before[name].profile_of(card.name, sha) for name in candidates}
        missing = [name for name, one in known.items() if one is None or len(one.block_ms) != len(card.blocks)]
        stale = {name: before[name].profiles.get(card.name) for name in missing}

        def profile(fleet: Fleet, name: str) -> Profile | None:
            found = newest(fleet, name)
            return found if found is not None and len(found.block_ms) == len(card.blocks) else None

        def newest(fleet: Fleet, name: str) -> Profile | None:
            """A new measurement counts even where it disagrees with what the monitor says of the capacity."""
            latest = fleet.devices[name].profiles.get(card.name)
            if name in stale and latest is not None and latest is not stale[name] and latest.card_sha == sha:
                return latest
            return fleet.devices[name].profile_of(card.name, sha)

        async def in_turn(names: Sequence[str]) -> None:
            for name in names:
                try:
                    async with asyncio.timeout(self._profile_timeout_s):
                        await self._ask(name, card)
                        await self._watch.until(partial(settled, name))
                except TimeoutError:
                    logger.warning("%s did not measure %s in time", name, card.name)

        def settled(name: str, fleet: Fleet) -> bool:
            return profile(fleet, name) is not None or not fleet.devices[name].usable

        if missing:
            tell(Profiling(question.ticket, measuring(question.wish, missing)))
            async with asyncio.TaskGroup() as group:
                for names in by_machine(before, missing):
                    group.create_task(in_turn(names))
        found = {name: profile(self._watch.fleet, name) for name in candidates}
        return {name: measured for name, measured in found.items() if measured is not None}

    async def _ask(self, name: str, card: ModelCard) -> None:
        """Ask once per life of a worker, while an answer may still come: it measures one thing after the other.

        A worker that does not hear it is asked again, so this returns when it was asked.
        """
        worker = self._watch.fleet.devices[name].worker
        key = (name, worker.boot_id if worker else "", card.sha256)
        if time.monotonic() - self._asked.get(key, -math.inf) < self._profile_timeout_s:
            return
        while True:
            if await self._heard(name, Command(kind="profile", model=card.name)):
                now_s = time.monotonic()
                self._asked = {**awaited(self._asked, now_s, self._profile_timeout_s), key: now_s}
                return
            await asyncio.sleep(ASK_AGAIN_S)

    async def _heard(self, name: str, command: Command) -> bool:
        try:
            heard = await self._bus.publish(DEVICE_COMMAND, command, device=name)
        except BrokerUnreachableError as error:
            logger.warning("%s was not asked to measure: %s", name, error)
            return False
        if not heard:
            logger.info("%s does not listen to commands now", name)
        return heard


K = TypeVar("K")


def awaited(asked_s: Mapping[K, float], now_s: float, within_s: float) -> dict[K, float]:
    """Of the questions asked at some time, those that may still be answered."""
    return {key: at_s for key, at_s in asked_s.items() if now_s - at_s < within_s}


def by_machine(devices: Mapping[str, Device], names: Sequence[str]) -> list[list[str]]:
    """`names` in groups that share a machine (one host name): measured at once they would measure each other."""
    groups: dict[str, list[str]] = {}
    for name in names:
        info = devices[name].info
        groups.setdefault(info.hostname if info else name, []).append(name)
    return list(groups.values())


def make_plan(question: Decide, ground: Ground, hub: HubFacts) -> tuple[Plan, Decision]:
    """The policy's plan over this ground, and why. Pure; computes for a while, so it belongs in a thread.

    The generation of both is a placeholder: only the rollout knows which comes next.

    Raises:
        PlanningError: there is no plan; says why.
    """
    started = time.perf_counter()
    wish = question.wish
    facts = [facts_of(device, profile, wish.deployment) for device, profile in ground.devices.values()]
    problem = problem_from(ground.card, wish, facts, hub)
    policy = find_policy(wish.policy)
    if policy.name in OWN_POLICIES:
        policy = Cautious(policy)
    choice = keep_survivors(problem, policy.plan(problem), question.serving)
    planning_ms = (time.perf_counter() - started) * 1e3
    plan = to_plan(problem, choice, generation=1, policy=wish.policy)
    why = explain(problem, choice, policy)
    decision = Decision(
        deployment=wish.deployment,
        generation=1,
        requested=wish.requested,
        state="preparing",
        plan=clip(str(plan)),
        predicted=plan.predicted,
        bound_rps=choice.bound_rps,
        alternatives=why.alternatives,
        decided_by=why.decided_by,
        explanation=clip(" ".join(part for part in (why.explanation, left_out_text(ground.left_out)) if part)),
        planning_ms=planning_ms,
    )
    return plan, decision


def facts_of(device: Device, profile: Profile, deployment: str) -> DeviceFacts:
    """One device as the cost model wants it; stages of other deployments keep their memory."""
    if device.info is None or device.link is None or device.worker is None:
        raise NoDeviceError(f"{device.name} cannot be planned with: {device.absence}")
    others = {
        (stage.card_sha, stage.first, stage.last): stage.memory_bytes
        for stage in device.worker.stages
        if stage.deployment != deployment and stage.state in ("loading", "ready")
    }
    return DeviceFacts(
        info=device.info,
        profile=profile,
        link=device.link,
        memory_budget_bytes=max(0, device.worker.memory_budget_bytes - sum(others.values())),
        stage_overhead_ms=profile.stage_overhead_ms,
        max_packet_bytes=device.worker.max_packet_bytes,
    )


def keep_survivors(problem: Problem, best: Choice, serving: Plan | None) -> Choice:
    """After a loss: the routes that still stand, when they are nearly as good as the best plan.

    They go on without loading anything, so a small gain is not worth moving for.
    """
    if serving is None or serving.card_sha != problem.card.sha256:
        return best
    there = {facts.name for facts in problem.devices}
    routes = [route for route in serving.routes if there.issuperset(route.devices)]
    if not routes:
        return best
    try:
        kept = choose(problem, lines_of(problem, routes), "surviving routes")
    except InfeasibleError:
        return best
    gain = objective(problem, kept.predicted) - objective(problem, best.predicted)
    if gain > KEEP_MARGIN * abs(objective(problem, best.predicted)):
        return best
    return replace(kept, notes=(*kept.notes, f"kept what still serves: at most {KEEP_MARGIN:.0%} could be gained"))


def no_device(wish: Deployment, left_out: Mapping[str, str]) -> str:
    """What to say when nobody can serve."""
    why = "none has joined" if not left_out else "every one of them is left out"
    return (
        f"no device can serve {wish.deployment} now: {why}. Run `stageline join` on a device; "
        "as soon as one is there, this deployment is planned by itself"
    )


def left_out_text(left_out: Mapping[str, str]) -> str:
    """`Left out: pi4 (did not get ready); nano (excluded).`, or nothing."""
    return f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}." if left_out else ""


def measuring(wish: Deployment, devices: Sequence[str]) -> Decision:
    """What is told while devices measure."""
    return Decision(
        deployment=wish.deployment,
        generation=0,
        requested=wish.requested,
        state="profiling",
        explanation=f"measuring {wish.model} on {', '.join(devices)}",
    )


def failure(wish: Deployment, error: str, left_out: Mapping[str, str]) -> Decision:
    """What is told when there is no plan."""
    text = ". ".join(part for part in (error, left_out_text(left_out)) if part)
    return Decision(
        deployment=wish.deployment, generation=0, requested=wish.requested, state="failed", error=clip(text)
    )


def clip(text: str) -> str:
    """What fits a message's text field."""
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 3]}..."
