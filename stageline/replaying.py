"""A recording played through a planner of its own, second by second: what it would have served, beside what was served.

The replayed planner hears what the real one heard. Stage times are compared with what the real plan promised, because
that is what ran; what is decided is for the plan that the policy would have served meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from schemas.accuracy import Seen
from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from schemas.topics import DEPLOYMENT, PLAN_CURRENT, PLAN_DECISION, SEEN
from services.planner.careful import careful
from services.planner.drift import Rules
from services.planner.facts import HubFacts
from services.planner.fleet import Fleet
from stageline.recording import Heard
from stageline.replay_outcome import Outcome, Row, Tally
from stageline.replayed_planner import Moment, ReplayedPlanner

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
    player = _Player(ReplayedPlanner(policy, hub or HubFacts(), rules or Rules()))
    for heard in recording:
        player.play(heard)
        if progress is not None:
            progress(heard.at_s)
    return player.outcome()


class _Player:
    def __init__(self, planner: ReplayedPlanner) -> None:
        self._planner = planner
        self._fleet = Fleet()
        self._wishes: dict[str, Deployment] = {}
        self._served: dict[str, Plan] = {}
        self._decided: dict[str, Decision] = {}
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
        self._planner.hear(heard, self._moment())
        self._fleet = self._fleet.with_message(heard.topic, heard.parameters, heard.message, retained=heard.kept)
        self._hear(heard)

    def outcome(self) -> Outcome:
        self._look()  # at what came since the last look
        return Outcome(tuple(self._rows), self._tallies, self._now_s, self._messages)

    def _moment(self) -> Moment:
        return Moment(self._now_s, self._fleet, self._served)

    def _look(self) -> None:
        moment = self._moment()
        for name, wish in self._wishes.items():
            card = self._fleet.cards.get(wish.model)
            if card is None:
                continue
            looked = self._planner.look(wish, card, moment)
            self._rows += looked.rows
            tally = self._tallies[name]
            tally.moves += looked.moved
            for found, into in zip(looked.predicted, (tally.replayed, tally.served), strict=True):
                if found is not None:
                    into.append(found)

    def _hear(self, heard: Heard) -> None:
        name, message = heard.parameters.get("deployment", ""), heard.message
        if heard.topic is DEPLOYMENT:
            self._was_wanted(name, message)
        elif heard.topic is PLAN_DECISION and message is not None:
            self._decided[name] = message
        elif heard.topic is PLAN_CURRENT:
            self._was_served(name, message)
        elif heard.topic is SEEN and message is not None:
            self._was_seen(name, message)

    def _was_wanted(self, name: str, wish: Deployment | None) -> None:
        if wish != self._wishes.get(name):
            self._wishes.pop(name, None)
            self._planner.forget(name, withdrawn=wish is None)
        if wish is not None:
            self._wishes[name] = wish
            self._tallies.setdefault(name, Tally(wish.objective))

    def _was_served(self, name: str, plan: Plan | None) -> None:
        before = self._served.pop(name, None)
        if plan is None:
            if before is not None:
                self._rows.append(Row(self._now_s, name, "served", "", "taken back"))
            return
        self._served[name] = plan
        if before is not None and before.generation == plan.generation:
            return
        decision = self._decided.get(name)
        why = decision.cause if decision is not None and decision.generation == plan.generation else ""
        if name in self._tallies and before is not None:
            self._tallies[name].served_moves += 1
        why = why or f"generation {plan.generation}"
        self._rows.append(Row(self._now_s, name, "served", str(plan), why, plan.predicted))

    def _was_seen(self, name: str, seen: Seen) -> None:
        tally = self._tallies.get(name)
        if tally is None:
            return
        tally.seen_s += seen.period_s
        for route in seen.routes:
            tally.answers += route.answers
            tally.answer_ms += route.answers * route.latency_ms
