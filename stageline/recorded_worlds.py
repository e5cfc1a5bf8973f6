"""From a recording to worlds that a policy is trained in: the fleet as it was believed to be, again and again.

Every LOOK_S seconds of the recording that had a plan served gives one world: the facts that the planner had then. How
far off they were follows from what submitters saw: what a route took longer than predicted, and its stages did not, is
put down to the links of its devices.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.accuracy import Seen
from schemas.deployment import Deployment
from schemas.plan import Plan
from schemas.topics import DEPLOYMENT, DEVICE_TIMING, PLAN_CURRENT, SEEN
from services.planner.accuracy import Ledger
from services.planner.adaptation import Adaptation
from services.planner.errors import PlanningError
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.learning.arms import LEARNABLE
from services.planner.learning.world import Off, World
from stageline.recording import Heard

LOOK_S: Final = 10.0
WORLDS_MOST: Final = 64
"""Later moments take the place of every second one before."""
OFF_MOST: Final = 5.0


class NoWorldError(ValueError):
    """A recording that no policy can be trained with; says why."""


@dataclass(frozen=True)
class Recorded:
    """What a recording gives to train with."""

    worlds: tuple[World, ...]
    centre: Mapping[str, Off]
    """How far off links were, by device."""


def recorded_worlds(recording: Iterable[Heard], deployment: str | None = None, *, hub: HubFacts) -> Recorded:
    """Worlds from a recording.

    Args:
        recording: in order of time.
        deployment: which; None: the only one there is.
        hub: the submitters' and the hub's links, which nobody measures.

    Raises:
        NoWorldError: it has no deployment that was served with an objective that can be learned.
        stageline.recording.RecordingError: from reading a broken file.
    """
    player = _Player(hub)
    for heard in recording:
        player.play(heard)
    names = sorted(player.worlds)
    if deployment is None and len(names) > 1:
        raise NoWorldError(f"it has several deployments: say which with --deployment ({', '.join(names)})")
    name = deployment or (names[0] if names else "")
    if name not in player.worlds:
        have = f"it has {', '.join(names)}" if names else "nothing that is served for latency or throughput is in it"
        raise NoWorldError(f"no deployment {name!r} to learn from in this recording: {have}" if name else have)
    worlds = player.worlds[name]
    fleet = [one.name for one in worlds[-1].facts]
    # One policy is for one fleet: moments with fewer devices are left out.
    same = tuple(world for world in worlds if [one.name for one in world.facts] == fleet)
    offs = {device: statistics.median(seen) for device, seen in player.offs[name].items()}
    return Recorded(same, {device: Off(up=off, down=off) for device, off in offs.items()})


class _Player:
    def __init__(self, hub: HubFacts) -> None:
        self.worlds: dict[str, list[World]] = {}
        self.offs: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._hub = hub
        self._fleet = Fleet()
        self._adaptation = Adaptation()
        self._wishes: dict[str, Deployment] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._look_s = LOOK_S

    def play(self, heard: Heard) -> None:
        while heard.at_s >= self._look_s:
            self._look(self._look_s)
            # Of a gap of days nothing new is to be learned.
            self._look_s = max(self._look_s + LOOK_S, heard.at_s)
        served = {name: ledger.plan for name, ledger in self._ledgers.items()}
        self._adaptation = self._adaptation.heard(
            heard.topic, heard.parameters, heard.message, now_s=heard.at_s, fleet=self._fleet, serving=served
        )
        self._fleet = self._fleet.with_message(heard.topic, heard.parameters, heard.message, retained=heard.kept)
        self._hear(heard)

    def _hear(self, heard: Heard) -> None:
        name, message = heard.parameters.get("deployment", ""), heard.message
        if heard.topic is DEPLOYMENT:
            self._wishes.pop(name, None)
            if message is not None:
                self._wishes[name] = message
        elif heard.topic is PLAN_CURRENT:
            self._ledgers.pop(name, None)
            if message is not None:
                self._ledgers[name] = Ledger(message)
        elif heard.topic is DEVICE_TIMING and message is not None:
            self._ledgers = {one: ledger.with_timing(message) for one, ledger in self._ledgers.items()}
        elif heard.topic is SEEN and message is not None and name in self._ledgers:
            self._was_seen(name, message, heard.at_s)

    def _was_seen(self, name: str, seen: Seen, at_s: float) -> None:
        ledger = self._ledgers[name] = self._ledgers[name].with_seen(seen, at_s)
        for number, route in enumerate(ledger.plan.routes):
            measured, predicted = ledger.routes.get(number), route.predicted
            if measured is None or predicted is None or not measured.samples:
                continue
            links_ms = sum(one.down_ms + one.up_ms for one in route.stage_predictions)
            longer_ms = measured.average.value() - predicted.latency_ms - ledger.explained_ms(number)
            if links_ms > 0:
                off = min(OFF_MOST, max(1 / OFF_MOST, 1 + longer_ms / links_ms))
                for device in route.devices:
                    self.offs[name][device].append(off)

    def _look(self, now_s: float) -> None:
        for name, ledger in self._ledgers.items():
            wish, card = self._wishes.get(name), self._fleet.cards.get(ledger.plan.model)
            if wish is None or card is None or wish.objective not in LEARNABLE:
                continue
            facts = self._facts(wish, ledger.plan, now_s)
            if not facts or card.sha256 != ledger.plan.card_sha:
                continue
            world = World(card, wish, facts, self._hub)
            try:
                world.arms()
            except PlanningError:
                continue
            worlds = self.worlds.setdefault(name, [])
            worlds.append(world)
            if len(worlds) > WORLDS_MOST:
                self.worlds[name] = worlds[1::2]

    def _facts(self, wish: Deployment, plan: Plan, now_s: float) -> tuple[DeviceFacts, ...]:
        rest = []
        for name, device in self._fleet.usable.items():
            profile = device.profile_of(plan.model, plan.card_sha)
            if name not in wish.exclude and profile is not None:
                rest.append(facts_of(device, profile, wish.deployment))
        return self._adaptation.adjusted(rest, plan.card_sha, now_s=now_s)
