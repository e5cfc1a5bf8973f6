"""What a policy would have served, decided by the planner's own pure functions from what was heard so far.

A plan is taken to be served as soon as it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan
from services.planner.adaptation import Adaptation
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
from services.planner.review import best_plan
from services.planner.usable import NoDeviceError
from stageline.recording import Heard
from stageline.replay_outcome import Row
from stageline.replay_predictions import NEITHER, Both, Predictions


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known when the planner looks."""

    now_s: float
    fleet: Fleet
    served: Mapping[str, Plan]
    """By deployment: what was really served then."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at one deployment gave."""

    rows: tuple[Row, ...]
    moved: bool
    """Whether a plan is in the place of another."""
    predicted: Both


class ReplayedPlanner:
    """Decides for every deployment of a recording, from one look to the next."""

    def __init__(self, policy: str | None, hub: HubFacts, rules: Rules) -> None:
        self._policy = policy
        self._hub = hub
        self._rules = rules
        self._adaptation = Adaptation()
        self._plans: dict[str, Plan] = {}
        self._refused: dict[str, str] = {}
        self._predictions = Predictions(hub)

    def hear(self, heard: Heard, before: Moment) -> None:
        """Learn from a message; `before` is what was known before it came."""
        self._adaptation = self._adaptation.heard(
            heard.topic, heard.parameters, heard.message, now_s=heard.at_s, fleet=before.fleet, serving=before.served
        )

    def forget(self, name: str, *, withdrawn: bool) -> None:
        """A deployment is wanted otherwise, or (`withdrawn`) no more."""
        self._plans.pop(name, None)
        self._refused.pop(name, None)
        self._predictions.forget(name)
        self._adaptation = self._adaptation.without(name)
        if withdrawn:
            self._adaptation = self._adaptation.forgetting(name)

    def look(self, wanted: Deployment, card: ModelCard, moment: Moment) -> Looked:
        """Decide whether something else should be served, and say what that and the real plan would give now."""
        wish = wanted if self._policy is None else wanted.model_copy(update={"policy": self._policy})
        name, before = wish.deployment, self._plans.get(wish.deployment)
        rows: list[Row] = []
        predicted = NEITHER
        try:
            rest, waiting = _able(wish, card, moment.fleet)
            if decided := self._decided(wish, card, rest, moment, waiting=waiting):
                self._plans[name], row = decided
                rows.append(row)
            if rest:
                plans = (self._plans.get(name), moment.served.get(name))
                facts = self._adaptation.adjusted(rest, card.sha256, now_s=moment.now_s)
                predicted = self._predictions.of(wish, card, plans, facts, self._adaptation.exits)
        except (PlanningError, ValueError, ArithmeticError) as error:
            if self._refused.get(name) != str(error):
                self._refused[name] = str(error)
                rows.append(self._refusal(name, str(error), moment))
        else:
            if self._refused.pop(name, "") and before is not None and self._plans.get(name) == before:
                rows.append(_row(moment, before, "possible again: its devices are back"))
        moved = before is not None and self._plans.get(name) is not before
        return Looked(tuple(rows), moved, predicted)

    def _decided(
        self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts], moment: Moment, *, waiting: bool
    ) -> tuple[Plan, Row] | None:
        """What is served from now on, and why; None: what is served already."""
        plan = self._plans.get(wish.deployment)
        if plan is None or plan.card_sha != card.sha256:
            # Devices that are still measuring were waited for.
            if rest and not (waiting and wish.deployment not in moment.served):
                return self._first(wish, card, rest, moment, "asked for")
            return None
        if gone := sorted(set(plan.devices) - {facts.name for facts in rest}):
            return self._first(wish, card, rest, moment, _gone_text(gone, moment.fleet))
        return self._review(wish, card, rest, moment, plan)

    def _first(
        self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts], moment: Moment, why: str
    ) -> tuple[Plan, Row]:
        """A plan without a comparison: the first one, or after a loss."""
        before = self._plans.get(wish.deployment)
        if not rest:
            away = [one for one, device in moment.fleet.devices.items() if not device.usable]
            reasons = [_gone_text(away, moment.fleet)] if away else []
            reasons += [f"excluded {', '.join(wish.exclude)}"] if wish.exclude else []
            raise NoDeviceError(f"no device could serve it then: {'; '.join(reasons) or 'none had measured it'}")
        facts = self._adaptation.adjusted(rest, card.sha256, now_s=moment.now_s)
        held = planned_blocks(before) if before is not None else {}
        make = partial(problem_from, card, wish, facts, self._hub)
        _, best = best_point(
            (make(exits=rules) for rules in allowed_rules(card, wish, self._adaptation.exits)),
            partial(best_plan, policy=careful(wish.policy), held=held),
        )
        plan = plan_of(card, wish, best, generation=before.generation + 1 if before else 1, policy=wish.policy)
        return plan, _row(moment, plan, why)

    def _review(
        self, wish: Deployment, card: ModelCard, rest: list[DeviceFacts], moment: Moment, plan: Plan
    ) -> tuple[Plan, Row] | None:
        question = self._adaptation.question(
            wish=wish, card=card, rest=rest, serving=plan, fleet=moment.fleet, hub=self._hub, now_s=moment.now_s
        )
        if question is None:
            return None
        question = replace(question, held=planned_blocks(plan))
        found = consider(question)
        self._adaptation, move = self._adaptation.judged(question, found, now_s=moment.now_s, rules=self._rules)
        if not move:
            return None
        after = plan_of(card, wish, found.best, generation=plan.generation + 1, policy=wish.policy)
        gain = found.gain if math.isfinite(found.gain) else None
        return after, replace(_row(moment, after, found.cause), gain=gain, moved_bytes=found.moved_bytes)

    def _refusal(self, name: str, why: str, moment: Moment) -> Row:
        """Nothing better than what serves already, as long as that can go on."""
        plan = self._plans.get(name)
        devices = [moment.fleet.devices.get(device) for device in plan.devices] if plan is not None else []
        if plan is None or any(device is None or device.gone for device in devices):
            return Row(moment.now_s, name, "replayed", "", f"no plan: {why}")
        return _row(moment, plan, f"refused, the plan before it goes on: {why}")


def _row(moment: Moment, plan: Plan, why: str) -> Row:
    return Row(moment.now_s, plan.deployment, "replayed", str(plan), why, plan.predicted)


def _able(wish: Deployment, card: ModelCard, fleet: Fleet) -> tuple[list[DeviceFacts], bool]:
    """Facts of who may serve, and whether somebody who may has not measured the model yet."""
    sha = card.sha256
    rest, waiting = [], False
    for name, device in fleet.usable.items():
        profile = device.profile_of(card.name, sha)
        if name in wish.exclude:
            continue
        if profile is None or len(profile.block_ms) != len(card.blocks):
            waiting = True
        else:
            rest.append(facts_of(device, profile, wish.deployment))
    return rest, waiting


def _gone_text(names: Iterable[str], fleet: Fleet) -> str:
    """`lost pi4; drained nano`."""
    known = [(name, fleet.devices.get(name)) for name in sorted(names)]
    drained = [name for name, device in known if device is not None and device.draining and not device.gone]
    lost = [name for name, _ in known if name not in drained]
    said = (("lost", lost), ("drained", drained))
    return "; ".join(f"{what} {', '.join(which)}" for what, which in said if which)
