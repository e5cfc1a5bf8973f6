"""What experience adds to a plan's facts, and when it says that a served plan is no longer the right one.

Immutable, folded from messages with the times at which they came. The live planner and `stageline replay` use it alike:

    adaptation = Adaptation()

    # every telemetry, heartbeat and profile, as it comes (other topics change nothing):
    adaptation = adaptation.heard(topic, parameters, message, now_s=now_s, fleet=fleet, serving=serving)

    # whenever facts are needed, e.g. for a first plan (`rest`: `services.planner.ground.facts_of`, whose free share
    # is what other deployments leave this one):
    facts = adaptation.adjusted(rest, card_sha, now_s=now_s)

    # about once a second, for every deployment that is served and not being planned:
    question = adaptation.question(
        wish=wish, card=card, rest=rest, serving=plan, fleet=fleet, hub=hub, now_s=now_s
    )
    if question is not None:                       # None: nothing has changed enough to look again
        review = consider(question)                # pure, and computes for a while: in a thread
        adaptation, move = adaptation.judged(question, review, now_s=now_s, rules=rules)
        # move: prepare review.best (`complete.plan_of`), and tell review.cause

`due` does the last step in one go. Times are seconds of one clock that only grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import ExitRule, Plan
from schemas.topics import DEVICE_PROFILE, DEVICE_STATUS, DEVICE_TELEMETRY, DEVICE_TIMING, Topic
from services.planner.alike import alike, near, same_mix
from services.planner.condition import Conditions
from services.planner.corrections import Corrections
from services.planner.drift import Drift, Rules, judge
from services.planner.exit_shares import NO_SHARES, ExitShares
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.held import held_blocks
from services.planner.listening import after_leaving, after_telemetry, after_timing
from services.planner.question import Question, consider
from services.planner.review import Review

ADAPTED_TOPICS: Final[tuple[Topic[Any], ...]] = (DEVICE_TELEMETRY, DEVICE_TIMING, DEVICE_PROFILE, DEVICE_STATUS)
"""What `Adaptation.heard` listens to."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One served plan under review."""

    generation: int
    capacities: Mapping[str, float]
    """Cores of the devices when a review last found that nothing speaks for moving."""
    facts: tuple[DeviceFacts, ...]
    """At the last review,"""
    exits: tuple[ExitRule, ...] = ()
    """and the served plan's exits with the shares that left there then."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Experience with a fleet and its deployments."""

    conditions: Conditions = field(default_factory=Conditions)
    corrections: Corrections = field(default_factory=Corrections)
    exits: ExitShares = NO_SHARES
    """How many requests leave where, of every deployment."""
    drifts: Mapping[str, Drift] = field(default_factory=dict)
    watched: Mapping[str, Watched] = field(default_factory=dict)

    def heard(
        self,
        topic: Topic[Any],
        parameters: Mapping[str, str],
        message: Any | None,
        *,
        now_s: float,
        fleet: Fleet,
        serving: Mapping[str, Plan],
    ) -> Adaptation:
        """After one message (None: the topic was cleared).

        Args:
            topic: where it came from; topics other than ADAPTED_TOPICS change nothing, unless it is cleared and with
                it the last that was known of a device.
            parameters: the names in its address.
            message: what came.
            now_s: when.
            fleet: as it was before this message.
            serving: the plans that are really served, by deployment: what timings are compared with.
        """
        device = parameters.get("device", "")
        if message is None and fleet.loses(device, topic, parameters):
            return replace(
                self, conditions=self.conditions.without(device), corrections=self.corrections.forget(device)
            )
        if topic is DEVICE_TELEMETRY and message is not None:
            return self._knowing(*after_telemetry(self.conditions, self.corrections, device, message, now_s=now_s))
        if topic is DEVICE_TIMING and message is not None:
            knowing = self._knowing(
                *after_timing(
                    self.conditions, self.corrections, device, message, now_s=now_s, fleet=fleet, serving=serving
                )
            )
            return replace(knowing, exits=after_leaving(self.exits, device, message, serving))
        if topic is DEVICE_STATUS and message is None:
            return replace(
                self, conditions=self.conditions.without(device), corrections=self.corrections.forget(device)
            )
        if topic is DEVICE_PROFILE:
            known = fleet.devices.get(device)
            before = known.profiles.get(parameters["model"]) if known is not None else None
            if message != before:
                return replace(self, corrections=self.corrections.forget(device, parameters["model"]))
        return self

    def adjusted(self, rest: Sequence[DeviceFacts], card_sha: str, *, now_s: float) -> tuple[DeviceFacts, ...]:
        """Facts as they are now: capacity, what others leave, heat, links, and what was learned of this model.

        Args:
            rest: facts without any of that; their free shares (what other deployments leave) are kept as a factor.
            card_sha: which model they are for.
            now_s: now.
        """
        return tuple(self._adjusted(facts, card_sha, now_s) for facts in rest)

    def question(
        self,
        *,
        wish: Deployment,
        card: ModelCard,
        rest: Sequence[DeviceFacts],
        serving: Plan,
        fleet: Fleet,
        hub: HubFacts,
        now_s: float,
    ) -> Question | None:
        """What to review of a served plan; None when nothing has changed enough since the last review.

        While reviews are in favour of moving, every call gives a question, until they agree or do not.
        """
        facts = self.adjusted(rest, serving.card_sha, now_s=now_s)
        watched = self.watched.get(wish.deployment)
        drift = self.drifts.get(wish.deployment, Drift())
        if watched is None or watched.generation != serving.generation:
            exact = frozenset[str]()
        else:
            same = alike(watched.facts, facts) and same_mix(watched.exits, self.exits.now(card, serving))
            if drift.agreed == 0 and same:
                return None
            exact = frozenset(
                one.name for one in facts if not near(watched.capacities.get(one.name), one.info.capacity_cores)
            )
        workers = [device.worker for device in fleet.devices.values() if device.worker is not None]
        held = held_blocks(card, serving.card_sha, workers)
        return Question(wish, card, facts, hub, serving, held, exact, self.exits)

    def judged(self, question: Question, found: Review, *, now_s: float, rules: Rules) -> tuple[Adaptation, bool]:
        """Take a review in; True when the deployment is to move to its best plan now."""
        drift, move = judge(self._drift(question, now_s), found, now_s, rules)
        return self._watching(question, drift), move

    def unjudged(self, question: Question, *, now_s: float) -> Adaptation:
        """After a review that ended in an error: it would again, until facts change."""
        return self._watching(question, replace(self._drift(question, now_s), agreed=0))

    def _drift(self, question: Question, now_s: float) -> Drift:
        """How far this plan is on its way; one that has come in place of another was moved to just now."""
        name = question.wish.deployment
        drift, before = self.drifts.get(name, Drift()), self.watched.get(name)
        if before is None or before.generation == question.serving.generation:
            return drift
        return replace(drift, agreed=0, moved_s=now_s)

    def _watching(self, question: Question, drift: Drift) -> Adaptation:
        name, generation = question.wish.deployment, question.serving.generation
        before = self.watched.get(name)
        capacities = (
            before.capacities
            if before is not None and before.generation == generation and drift.agreed > 0
            else {facts.name: facts.info.capacity_cores for facts in question.facts}
        )
        exits = question.shares.now(question.card, question.serving)
        watched = Watched(generation, capacities, question.facts, exits)
        return replace(self, drifts={**self.drifts, name: drift}, watched={**self.watched, name: watched})

    def without(self, deployment: str) -> Adaptation:
        """With nothing under review of a deployment: it is gone, or its wish is another one now.

        How many of its requests leave at which threshold does not depend on what is wished (`forgetting`).
        """
        return replace(
            self,
            drifts={name: drift for name, drift in self.drifts.items() if name != deployment},
            watched={name: seen for name, seen in self.watched.items() if name != deployment},
        )

    def forgetting(self, deployment: str) -> Adaptation:
        """With nothing of a deployment, now that it is gone."""
        return replace(self.without(deployment), exits=self.exits.without(deployment))

    def _knowing(self, conditions: Conditions, corrections: Corrections) -> Adaptation:
        return replace(self, conditions=conditions, corrections=corrections)

    def _adjusted(self, facts: DeviceFacts, card_sha: str, now_s: float) -> DeviceFacts:
        name = facts.name
        cores = self.conditions.capacity_cores(name)
        facts = facts.at_capacity(cores if cores is not None else facts.info.capacity_cores)
        share = self.conditions.free_share(name, threads=facts.profile.threads)
        return replace(
            facts,
            link=self.conditions.link(name) or facts.link,
            free_share=facts.free_share * share,
            correction=self.corrections.factor(name, facts.profile.model, card_sha, now_s=now_s),
        )


def due(
    adaptation: Adaptation, question: Question | None, *, now_s: float, rules: Rules
) -> tuple[Adaptation, Review | None, bool]:
    """Review and judge in one go: what was found (None when there was no question), and whether to move to it."""
    if question is None:
        return adaptation, None, False
    found = consider(question)
    adaptation, move = adaptation.judged(question, found, now_s=now_s, rules=rules)
    return adaptation, found, move
