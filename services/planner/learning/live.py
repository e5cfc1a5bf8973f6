"""Learning policies at work: judges what is served by what submitters see, and moves where that is better.

Every deployment whose policy learns has a course (`services.planner.learning.course`). About once a second each is
looked at; once enough was seen of the plan that is served, that is a decision: the learner takes it in, and says what
is served next. Moves go to the deployment's rollout like any other (make before break), so a plan that is tried costs
no answer. Plans are made in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

from broker.bus import Bus
from broker.delivery import Delivery
from broker.errors import BrokerUnreachableError
from schemas.accuracy import Seen
from schemas.deployment import Decision
from schemas.learning import Learning
from schemas.plan import Plan
from schemas.topics import PLAN_LEARNING, SEEN
from services.planner.careful import careful
from services.planner.complete import plan_of
from services.planner.cost import Problem
from services.planner.deployments import Deployments
from services.planner.errors import PlanningError
from services.planner.events import Decide
from services.planner.facts import HubFacts
from services.planner.ground import Ground
from services.planner.learning.course import Course, cause_of
from services.planner.learning.gathering import gathered
from services.planner.learning.learner import Pick, Proposer
from services.planner.learning.proposers import Proposers
from services.planner.plan_making import decision_of
from services.planner.policy import LEARNING_POLICIES
from services.planner.rollout_state import Rollout

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
_WITHIN_S: Final = 5.0

GroundOf = Callable[[Decide], Awaitable[Ground | None]]
"""Who may serve a wish now, as measured; None where its model is not known, or has changed."""


class Live:
    """`run` is its loop; `holds` is for reviews, which leave alone what is the learner's."""

    def __init__(
        self,
        bus: Bus,
        deployments: Deployments,
        ground: GroundOf,
        proposers: Proposers,
        *,
        hub: HubFacts,
        period_s: float,
    ) -> None:
        self._bus = bus
        self._deployments = deployments
        self._ground = ground
        self._proposers = proposers
        self._hub = hub
        self._period_s = period_s
        self._courses: dict[str, Course] = {}
        self._kept: dict[str, Learning] = {}
        self._told: dict[str, Learning | None] = {}

    def holds(self, deployment: str) -> bool:
        """Whether what is served, or about to be, is the learner's."""
        course = self._courses.get(deployment)
        return course is not None and course.holds

    async def adopt(self) -> None:
        """Continue from what a planner before us told."""
        for kept in await self._bus.snapshot(PLAN_LEARNING):
            name = kept.parameters["deployment"]
            self._kept[name] = kept.message
            self._told[name] = None

    async def run(self) -> None:
        """Listen and decide, until cancelled."""
        async with self._bus.subscribe(SEEN) as sightings, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(sightings), name="sightings to learn from")
            while True:
                await asyncio.sleep(LOOK_S)
                for rollout in self._deployments.settled:
                    await self._look_at(rollout)
                with contextlib.suppress(BrokerUnreachableError):  # told in the next round
                    await self._tell()

    async def _follow(self, sightings: AsyncIterator[Delivery[Seen]]) -> None:
        async for delivery in sightings:
            seen = delivery.message
            course = self._courses.get(seen.deployment)
            mine = delivery.parameters == {"deployment": seen.deployment, "submitter": seen.submitter}
            if course is not None and mine:
                self._courses[seen.deployment] = course.seen(seen)

    async def _look_at(self, rollout: Rollout) -> None:
        wish, plan, now_s = rollout.wish, rollout.current, time.monotonic()
        name = rollout.deployment
        if wish is None or plan is None or wish.policy not in LEARNING_POLICIES:
            self._courses.pop(name, None)
            self._kept.pop(name, None)
            return
        before = self._courses.get(name)
        if before is None:
            course = Course.begun(wish, plan, now_s, self._kept.pop(name, None))
        else:
            course = before.serving(wish, plan, now_s)
        self._courses[name] = course
        cost = course.window.judged(plan, now_s, period_s=self._period_s, reference=course.reference())
        over = cost is None and course.trial_over(now_s, period_s=self._period_s)
        if course.asked is not None or (cost is None and not over):
            return
        fields = {"deployment": name, "generation": plan.generation}
        try:
            ground = await self._ground(Decide(0, wish, rollout.excluded, plan))
            if ground is None:
                return
            # What is seen from here on counts for the next decision.
            self._courses[name] = replace(course, window=course.window.again(now_s))
            proposer = self._proposers.proposer(wish, ground.card, ground.facts)
            after, move = await asyncio.to_thread(_decided, course, proposer, cost, ground, self._hub)
        except PlanningError as error:
            # Whatever is served, reviews of exact's plan take over.
            self._courses[name] = replace(course, by="exact", reason=str(error), window=course.window.again(now_s))
            logger.info("nothing learned: %s", error, extra=fields)
        except (ValueError, ArithmeticError) as error:
            reason = f"deciding failed: {error}"
            self._courses[name] = replace(course, by="exact", reason=reason, window=course.window.again(now_s))
            if reason != course.reason:
                logger.exception("nothing learned", extra=fields)
        else:
            self._courses[name] = replace(after, window=self._courses[name].window)
            if move is not None:
                logger.info("learning: %s", move[1].cause, extra=fields)
                self._deployments.drifted(name, plan.generation, *move)

    async def _tell(self) -> None:
        for name in self._told.keys() - self._courses.keys() - self._kept.keys():
            await self._bus.clear(PLAN_LEARNING, timeout_s=_WITHIN_S, deployment=name)
            self._told.pop(name, None)
        for name in self._kept.keys() - self._deployments.wishes.keys():
            del self._kept[name]
        for name, course in list(self._courses.items()):
            message = course.told()
            if name not in self._deployments.wishes:
                del self._courses[name]
            elif message != self._told.get(name):
                await self._bus.publish(PLAN_LEARNING, message, timeout_s=_WITHIN_S, deployment=name)
                self._told[name] = message


def _decided(
    course: Course, proposer: Proposer, cost: float | None, ground: Ground, hub: HubFacts
) -> tuple[Course, tuple[Plan, Decision] | None]:
    """One decision, and what to prepare where it is to move; explaining that takes some plannings.

    Without a cost: the end of a trial that could not be judged.
    """
    problem, arms = gathered(course.wish, ground, hub, serving=course.plan, baseline=course.baseline)
    now_s = time.monotonic()
    after, pick = course.unjudged(arms, now_s) if cost is None else course.decided(arms, proposer, cost, now_s)
    return after, _moving(problem, after, pick, ground) if after.asked is pick else None


def _moving(problem: Problem, course: Course, pick: Pick, ground: Ground) -> tuple[Plan, Decision]:
    wish, began_s = course.wish, time.perf_counter()
    plan = plan_of(ground.card, wish, pick.arm.choice, generation=1, policy=wish.policy)
    cause = cause_of(pick, course.learner, course.arms)
    decision = decision_of(problem, pick.arm.choice, careful(wish.policy), plan, cause=cause, left_out=ground.left_out)
    return plan, decision.model_copy(update={"planning_ms": (time.perf_counter() - began_s) * 1e3})
