"""From a wish to a plan: who may serve, what they measured, what the policy chooses, and why."""

from __future__ import annotations

import asyncio
import logging

from models.library import NotInLibraryError
from schemas.model import ModelCard
from services.planner.cost import NoDeviceError
from services.planner.deployments import Tell
from services.planner.errors import PlanningError
from services.planner.events import Decide, Planned, Profiling, Refused
from services.planner.facts import HubFacts
from services.planner.ground import Ground
from services.planner.library_server import LibraryServer
from services.planner.measuring import Measurer, measured
from services.planner.plan_making import make_plan
from services.planner.watch import FleetWatch
from services.planner.wording import failure, measuring, no_device

logger = logging.getLogger(__name__)


class Decider:
    """Answers `Decide` questions; has devices measure first where nobody knows how fast they are."""

    def __init__(self, watch: FleetWatch, library: LibraryServer, measurer: Measurer, hub: HubFacts) -> None:
        self._watch = watch
        self._library = library
        self._measurer = measurer
        self._hub = hub

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
        missing = [name for name in candidates if name not in measured(fleet, card, candidates)]
        if missing:
            tell(Profiling(question.ticket, measuring(wish, missing)))
            await self._measurer.measure(card, missing)
        profiles = measured(self._watch.fleet, card, candidates)
        usable = self._watch.fleet.usable
        for name in set(candidates) - profiles.keys():
            left_out[name] = f"did not measure {wish.model} within {self._measurer.within_s:g} s"
        devices = {name: (usable[name], profiles[name]) for name in candidates if name in usable and name in profiles}
        if not devices:
            raise NoDeviceError(no_device(wish, left_out))
        return Ground(card, devices, dict(left_out))

    async def _card(self, model: str) -> ModelCard:
        await self._library.scan()
        if model not in self._library.cards:
            raise NotInLibraryError(model, sorted(self._library.cards))
        return self._library.cards[model]
