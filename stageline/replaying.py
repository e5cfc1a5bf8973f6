"""What a policy would have decided, played through a recording: the planner's own pure decisions, second by second.

The replayed planner hears what the real one heard. Stage times are compared with what the real plan promised, because
that is what ran; what is decided is for the plan that the policy would have served meanwhile. It is taken to be served
as soon as it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from schemas.accuracy import Seen
from schemas.deployment import Decision, Deployment
from schemas.model import ModelCard
from schemas.plan import Plan, Prediction
from schemas.topics import DEPLOYMENT, PLAN_CURRENT, PLAN_DECISION, SEEN
from services.planner.adaptation import Adaptation
from services.planner.alike import alike
from services.planner.careful import careful
from services.planner.complete import plan_of
from services.planner.cost import problem_from
from services.planner.drift import Rules
from services.planner.errors import PlanningError
from services.planner.exit_choice import best_point
from services.planner.exit_rules import allowed_rules
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.held import planned_blocks
from services.planner.question import consider
from services.planner.review import best_plan, still
from services.planner.usable import NoDeviceError
from stageline.recording import Heard
from stageline.replay_outcome import Outcome, Row, Tally

LOOK_S: Final = 1.0
"""Between two looks at what is known, as the planner does it."""
GAP_S: Final = 600.0
"""Where a recording has nothing for longer than this, time is skipped."""


def replay(
    recording: Iterable[Heard],
    *,
    policy: str | None = None,
    hub: HubFacts | None = None,
    rules: Rules | None = None,
    progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Play a recording through. Pure but for reading it.

    Args:
        recording: in order of time.
        policy: plans all deployments; None: each its own.
        hub: the submitters' and the hub's links, which nobody measures.
        rules: of when to move.
        progress: told the time of every message, s.

    Raises:
        services.planner.policies.UnknownPolicyError: there is no such policy.
        stageline.recording.RecordingError: from reading a broken file.
    """
    if policy is not None:
        careful(policy)
    player = _Player(policy, hub or HubFacts(), rules or Rules())
    for heard in recording:
        player.play(heard)
        if progress is not None:
            progress(heard.at_s)
    return player.outcome()


@dataclass(frozen=True, slots=True)
class _Predicted:
    """What two plans would give, and the facts it follows from."""

    plans: tuple[Plan | None, Plan | None]
    facts: tuple[DeviceFacts, ...]
    predictions: list[Prediction | None]


class _Player:
    def __init__(self, policy: str | None, hub: HubFacts, rules: Rules) -> None:
        self._policy = policy
        self._hub = hub
        self._rules = rules
        self._fleet = Fleet()
        self._adaptation = Adaptation()
        self._wishes: dict[str, Deployment] = {}
        self._served: dict[str, Plan] = {}
        self._decided: dict[str, Decision] = {}
        self._replayed: dict[str, Plan] = {}
        self._refused: dict[str, str] = {}
        self._predicted: dict[str, _Predicted] = {}
        self._rows: list[Row] = []
        self._tallies: dict[str, Tally] = {}
        self._now_s = 0.0
        self._look_s = LOOK_S
        self._messages = 0

    def play(self, heard: Heard) -> None:
        if heard.at_s - self._look_s > GAP_S:
            self._look_s = heard.at_s
        while heard.at_s >= self._look_s:
            self._now_s = self._look_s
            self._look()
            self._look_s += LOOK_S
        self._now_s = heard.at_s
        self._messages += 1
        before = self._fleet
        self._adaptation = self._adaptation.heard(
            heard.topic, heard.parameters, heard.message, now_s=heard.at_s, fleet=before, serving=self._served
        )
        self._fleet = before.with_message(heard.topic, heard.parameters, heard.message, retained=heard.kept)
        self._hear(heard)

    def outcome(self) -> Outcome:
        self._look()  # at what came since the last look
        return Outcome(tuple(self._rows), self._tallies, self._now_s, self._messages)

    def _hear(self, heard: Heard) -> None:
        name, message = heard.parameters.get("deployment", ""), heard.message
        if heard.topic is DEPLOYMENT:
            if message != self._wishes.get(name):
                self._forget(name)
                if message is None:
                    self._adaptation = self._adaptation.forgetting(name)
            if message is not None:
                self._wishes[name] = message
                self._tallies.setdefault(name, Tally(message.objective))
        elif heard.topic is PLAN_DECISION and message is not None:
            self._decided[name] = message
        elif heard.topic is PLAN_CURRENT:
            self._was_served(name, message)
        elif heard.topic is SEEN and message is not None:
            self._was_seen(name, message)

    def _forget(self, name: str) -> None:
        for known in (self._wishes, self._replayed, self._refused, self._predicted):
            known.pop(name, None)
        self._adaptation = self._adaptation.without(name)

    def _was_served(self, name: str, plan: Plan | None) -> None:
        before = self._served.pop(name, None)
        if plan is None:
            if before is not None:
                self._add(Row(self._now_s, name, "served", "", "taken back"))
            return
        self._served[name] = plan
        if before is not None and before.generation == plan.generation:
            return
        decision = self._decided.get(name)
        why = decision.cause if decision is not None and decision.generation == plan.generation else ""
        if name in self._tallies and before is not None:
            self._tallies[name].served_moves += 1
        self._add(Row(self._now_s, name, "served", str(plan), why or f"generation {plan.generation}", plan.predicted))

    def _was_seen(self, name: str, seen: Seen) -> None:
        tally = self._tallies.get(name)
        if tally is None:
            return
        tally.seen_s += seen.period_s
        for route in seen.routes:
            tally.answers += route.answers
            tally.answer_ms += route.answers * route.latency_ms

    def _look(self) -> None:
        for name, wish in self._wishes.items():
            card = self._fleet.cards.get(wish.model)
            if card is None:
                continue
            before = self._replayed.get(name)
            try:
                self._decide(self._asked(wish), card)
            except (PlanningError, ValueError, ArithmeticError) as error:
                if self._refused.get(name) != str(error):
                    self._refused[name] = str(error)
                    self._refuse(name, str(error))
            else:
                if self._refused.pop(name, "") and before is not None and self._replayed.get(name) == before:
                    why = "possible again: its devices are back"
                    self._add(Row(self._now_s, name, "replayed", str(before), why, before.predicted))

    def _refuse(self, name: str, why: str) -> None:
        """Nothing better than what serves already, as long as that can go on."""
        plan = self._replayed.get(name)
        if plan is not None and not self._gone(plan):
            why = f"refused, the plan before it goes on: {why}"
            self._add(Row(self._now_s, name, "replayed", str(plan), why, plan.predicted))
        else:
            self._add(Row(self._now_s, name, "replayed", "", f"no plan: {why}"))

    def _gone(self, plan: Plan) -> bool:
        devices = [self._fleet.devices.get(name) for name in plan.devices]
        return any(device is None or device.gone for device in devices)

    def _asked(self, wish: Deployment) -> Deployment:
        return wish if self._policy is None else wish.model_copy(update={"policy": self._policy})

    def _decide(self, wish: Deployment, card: ModelCard) -> None:
        name = wish.deployment
        rest, waiting = self._ground(wish, card)
        plan = self._replayed.get(name)
        if plan is None or plan.card_sha != card.sha256:
            # Devices that are still measuring were waited for.
            if rest and not (waiting and name not in self._served):
                self._first(wish, card, rest, "asked for")
        elif gone := sorted(set(plan.devices) - {facts.name for facts in rest}):
            self._first(wish, card, rest, self._gone_text(gone))
        else:
            self._review(wish, card, rest, plan)
        self._count(wish, card, rest)

    def _ground(self, wish: Deployment, card: ModelCard) -> tuple[list[DeviceFacts], bool]:
        """Facts of who may serve, and whether somebody who may has not measured the model yet."""
        sha = card.sha256
        rest, waiting = [], False
        for name, device in self._fleet.usable.items():
            profile = device.profile_of(card.name, sha)
            if name in wish.exclude:
                continue
            if profile is None or len(profile.block_ms) != len(card.blocks):
                waiting = True
            else:
                rest.append(facts_of(device, profile, wish.deployment))
        return rest, waiting

    def _first(self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts], why: str) -> None:
        """A plan without a comparison: the first one, or after a loss."""
        name, before = wish.deployment, self._replayed.get(wish.deployment)
        if not rest:
            away = [one for one, device in self._fleet.devices.items() if not device.usable]
            reasons = [self._gone_text(away)] if away else []
            reasons += [f"excluded {', '.join(wish.exclude)}"] if wish.exclude else []
            raise NoDeviceError(f"no device could serve it then: {'; '.join(reasons) or 'none had measured it'}")
        facts = self._adaptation.adjusted(rest, card.sha256, now_s=self._now_s)
        held = planned_blocks(before) if before is not None else {}
        make = partial(problem_from, card, wish, facts, self._hub)
        _, best = best_point(
            (make(exits=rules) for rules in allowed_rules(card, wish, self._adaptation.exits)),
            partial(best_plan, policy=careful(wish.policy), held=held),
        )
        plan = plan_of(card, wish, best, generation=before.generation + 1 if before else 1, policy=wish.policy)
        self._serve(plan, Row(self._now_s, name, "replayed", str(plan), why, plan.predicted), again=before is not None)

    def _gone_text(self, names: Iterable[str]) -> str:
        """`lost pi4; drained nano`."""
        known = [(name, self._fleet.devices.get(name)) for name in sorted(names)]
        drained = [name for name, device in known if device is not None and device.draining and not device.gone]
        lost = [name for name, _ in known if name not in drained]
        said = (("lost", lost), ("drained", drained))
        return "; ".join(f"{what} {', '.join(which)}" for what, which in said if which)

    def _review(self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts], plan: Plan) -> None:
        question = self._adaptation.question(
            wish=wish, card=card, rest=rest, serving=plan, fleet=self._fleet, hub=self._hub, now_s=self._now_s
        )
        if question is None:
            return
        question = replace(question, held=planned_blocks(plan))
        found = consider(question)
        self._adaptation, move = self._adaptation.judged(question, found, now_s=self._now_s, rules=self._rules)
        if move:
            after = plan_of(card, wish, found.best, generation=plan.generation + 1, policy=wish.policy)
            row = Row(
                self._now_s, wish.deployment, "replayed", str(after), found.cause, after.predicted,
                gain=found.gain if math.isfinite(found.gain) else None, moved_bytes=found.moved_bytes,
            )  # fmt: skip
            self._serve(after, row, again=True)

    def _serve(self, plan: Plan, row: Row, *, again: bool) -> None:
        self._replayed[plan.deployment] = plan
        self._tallies[plan.deployment].moves += again
        self._add(row)

    def _count(self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts]) -> None:
        """What both plans would give in this second."""
        name = wish.deployment
        plans = (self._replayed.get(name), self._served.get(name))
        if not rest or not any(plans):
            return
        facts = self._adaptation.adjusted(rest, card.sha256, now_s=self._now_s)
        known = self._predicted.get(name)
        if known is None or known.plans != plans or not alike(known.facts, facts):
            cuts = [cut for plan in plans if plan for cut in _cuts(plan)]
            make = partial(problem_from, card, wish, facts, self._hub, keep=cuts)
            shares = self._adaptation.exits
            now = [still(make(exits=shares.now(card, plan)), plan) if plan is not None else None for plan in plans]
            known = self._predicted[name] = _Predicted(plans, facts, [one.predicted if one else None for one in now])
        tally = self._tallies[name]
        for found, into in zip(known.predictions, (tally.replayed, tally.served), strict=True):
            if found is not None:
                into.append(found)

    def _add(self, row: Row) -> None:
        self._rows.append(row)


def _cuts(plan: Plan) -> Iterator[int]:
    for route in plan.routes:
        for stage in route.stages:
            yield from (stage.first, stage.last)
