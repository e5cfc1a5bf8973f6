"""Keeps plans true while they are served: hears how devices do, and reviews every plan about once a second.

What is heard is folded at once; a review computes in a thread, and its verdict goes to the deployment's rollout, which
prepares the new plan beside the one being served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.plan import Plan, Route
from schemas.topics import DEVICE_TELEMETRY, Topic
from services.planner.careful import careful
from services.planner.complete import plan_of
from services.planner.condition import CAPACITY_STEP
from services.planner.cost import problem_from
from services.planner.deployments import Deployments
from services.planner.drift import Rules
from services.planner.errors import PlanningError
from services.planner.experience import Experience, at_rest
from services.planner.facts import HubFacts
from services.planner.fleet import Fleet
from services.planner.library_server import LibraryServer
from services.planner.measuring import Measurer, measured
from services.planner.plan_making import borders, decision_of
from services.planner.question import Question, consider
from services.planner.review import Review
from services.planner.rollout_state import Rollout
from services.planner.side_by_side import shares_rows
from services.planner.watch import FleetWatch

logger = logging.getLogger(__name__)

SETTLE_S: Final = 10.0
"""A planner that has just started knows profiles only: what it found being served was chosen by one who knew more."""
REVIEW_S: Final = 1.0
"""From one round of reviews to the next,"""
REST: Final = 4.0
"""and at least so many times the processor time of the round before: most of a small hub's time is for frames."""


class Adapting:
    """Reviews what is served. `run` is its loop; `heard` and `longest_step_ms` are for the `FleetWatch`."""

    def __init__(
        self,
        watch: FleetWatch,
        library: LibraryServer,
        deployments: Deployments,
        measurer: Measurer,
        experience: Experience,
        *,
        hub: HubFacts,
        rules: Rules,
        holds: Callable[[str], bool] = lambda _deployment: False,
    ) -> None:
        """`holds`: what a learner serves of a deployment is its own affair (`services.planner.learning.live`)."""
        self._watch = watch
        self._library = library
        self._deployments = deployments
        self._measurer = measurer
        self._experience = experience
        self._hub = hub
        self._rules = rules
        self._holds = holds
        self._measuring: dict[str, asyncio.Task[None]] = {}
        self._present: dict[str, tuple[int, tuple[Route, ...]]] = {}
        self._found: Mapping[str, Plan] = {}
        self._wishes: Mapping[str, Deployment] = {}
        self._settled_s = 0.0
        self._wake = asyncio.Event()

    def heard(self, topic: Topic[Any], parameters: Mapping[str, str], message: Any, fleet: Fleet) -> None:
        """A device said something (None: it was cleared); `fleet` is as it was before. A new quota is looked at now."""
        if topic is DEVICE_TELEMETRY and message is not None:
            device = fleet.devices.get(parameters["device"])
            cores = device.capacity_cores if device is not None else 0.0
            if cores and abs(message.capacity_cores - cores) > CAPACITY_STEP * cores:
                self._wake.set()
        self._experience.heard(topic, parameters, message, fleet, self._deployments.serving)

    def longest_step_ms(self, device: str) -> float:
        """The longest step of work that a plan has for a device."""
        return self._deployments.longest_step_ms(device)

    def routes_now(self, plan: Plan) -> tuple[Route, ...]:
        """A served plan's routes with what the last review predicted of them; as planned, before there was one."""
        generation, routes = self._present.get(plan.deployment, (0, ()))
        return routes if generation == plan.generation else plan.routes

    def leave_alone(self, found: Mapping[str, Plan]) -> None:
        """These were served before this planner started: they are not reviewed for a while."""
        self._experience.adopt(found.values())
        self._found = dict(found)
        self._settled_s = time.monotonic() + SETTLE_S

    async def run(self) -> None:
        """Review in rounds, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                began_s, began_cpu_s = time.monotonic(), time.process_time()
                self._forget_past_wishes()
                for rollout in self._deployments.settled:
                    if began_s >= self._settled_s or rollout.current != self._found.get(rollout.deployment):
                        await self._look_at(rollout, tasks)
                await asyncio.sleep(REST * (time.process_time() - began_cpu_s))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, began_s + REVIEW_S - time.monotonic())):
                        await self._wake.wait()
                self._wake.clear()

    def _forget_past_wishes(self) -> None:
        wishes = dict(self._deployments.wishes)
        for name, wish in self._wishes.items():
            if wishes.get(name) != wish:
                known = self._experience.adaptation
                self._experience.adaptation = known.without(name) if name in wishes else known.forgetting(name)
                self._present.pop(name, None)
        self._wishes = wishes

    async def _look_at(self, rollout: Rollout, tasks: asyncio.TaskGroup) -> None:
        """Review one deployment; one after the other, so that two do not make room for each other at once."""
        wish, serving = rollout.wish, rollout.current
        card = self._library.cards.get(wish.model) if wish is not None else None
        if wish is None or serving is None or card is None or card.sha256 != serving.card_sha:
            return
        fleet = self._watch.fleet
        names = [name for name in fleet.usable if name not in wish.exclude and name not in rollout.excluded]
        profiles = measured(fleet, card, names)
        self._have_measured(card, [name for name in names if name not in profiles], tasks)
        devices = [(fleet.devices[name], profile) for name, profile in profiles.items()]
        if not devices or self._holds(wish.deployment):
            return
        fields = {"deployment": wish.deployment, "generation": serving.generation}
        question = self._experience.adaptation.question(
            wish=wish, card=card, rest=at_rest(wish, devices, self._deployments.uses), serving=serving, fleet=fleet,
            hub=self._hub, now_s=time.monotonic(),
        )  # fmt: skip
        if question is None:
            return
        if shares_rows(wish):
            question = replace(question, rows=await self._library.learn_rows(card))
        before = self._experience.adaptation.watched.get(wish.deployment)
        known = before.capacities.keys() if before is not None and before.generation == serving.generation else None
        try:
            found = await asyncio.to_thread(consider, question)
            self._experience.adaptation, move = self._experience.adaptation.judged(
                question, found, now_s=time.monotonic(), rules=self._rules
            )
            logger.debug(
                "reviewed: %s",
                found.best,
                extra={"deployment": wish.deployment, "gain": found.gain, "cause": found.cause, "move": move},
            )
            if found.present is not None:
                self._present[wish.deployment] = serving.generation, found.present.routes
            if move:
                joined = [name for name in _new_devices(serving, found) if known is not None and name not in known]
                plan, decision = await asyncio.to_thread(
                    moving, question, found, joined, self._left_out(rollout, question)
                )
                logger.info("moving: %s", decision.cause, extra={**fields, "gain": found.gain})
                self._deployments.drifted(wish.deployment, serving.generation, plan, decision)
        except (ValueError, ArithmeticError) as error:
            self._experience.adaptation = self._experience.adaptation.unjudged(question, now_s=time.monotonic())
            if isinstance(error, PlanningError):
                # What is served goes on: a device that is lost is another matter, and told apart from this.
                logger.info("no other plan: %s", error, extra=fields)
            else:
                logger.exception("no review", extra=fields)

    def _left_out(self, rollout: Rollout, question: Question) -> dict[str, str]:
        absent = {name: device.absence for name, device in self._watch.fleet.devices.items() if not device.usable}
        excluded = rollout.wish.exclude if rollout.wish is not None else ()
        beyond = {facts.name: facts.beyond for facts in question.facts if facts.beyond}
        return absent | beyond | dict.fromkeys(excluded, "excluded") | dict(rollout.excluded)

    def _have_measured(self, card: ModelCard, names: list[str], tasks: asyncio.TaskGroup) -> None:
        """A device that has joined measures what is served, so that it is used where it helps."""
        self._measuring = {key: task for key, task in self._measuring.items() if not task.done()}
        for name in names:
            key = f"{card.sha256} {name}"
            if key not in self._measuring:
                self._measuring[key] = tasks.create_task(self._measurer.measure(card, [name]), name=f"measure {name}")


def moving(
    question: Question, found: Review, joined: Sequence[str], left_out: Mapping[str, str]
) -> tuple[Plan, Decision]:
    """What to prepare after a review, and why. Pure; explaining takes as long as a few plannings."""
    began_s = time.perf_counter()
    wish = question.wish
    plan = plan_of(question.card, wish, found.best, generation=1, policy=wish.policy)
    problem = problem_from(
        question.card, wish, question.facts, question.hub, keep=borders(question.serving), exits=found.best.exits,
        rows=question.rows,
    )  # fmt: skip
    cause = "; ".join([*(f"{name} joined" for name in joined), found.cause])
    decision = decision_of(problem, found.best, careful(wish.policy), plan, cause=cause, left_out=left_out)
    return plan, decision.model_copy(update={"planning_ms": (time.perf_counter() - began_s) * 1e3})


def _new_devices(serving: Plan, found: Review) -> list[str]:
    used = dict.fromkeys(device for route in found.best.routes for device in route.devices)
    return [name for name in used if name not in serving.devices]
