"""From a wish to a plan: who may serve, what they measured, what the policy chooses, and why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from models.library import NotInLibraryError
from schemas.model import ModelCard
from services.planner.errors import PlanningError
from services.planner.events import Decide, Planned, Profiling, Refused, Tell
from services.planner.experience import Experience
from services.planner.facts import HubFacts
from services.planner.ground import Ground
from services.planner.held import held_blocks
from services.planner.learning.proposers import Proposers
from services.planner.library_server import LibraryServer
from services.planner.measuring import Measurer, measured
from services.planner.plan_making import make_plan
from services.planner.sharing import Use, over_share
from services.planner.side_by_side import shares_rows
from services.planner.usable import NoDeviceError
from services.planner.watch import FleetWatch
from services.planner.wording import failure, measuring, no_device

logger = logging.getLogger(__name__)


class Decider:
    """Answers `Decide` questions; has devices measure first where nobody knows how fast they are."""

    def __init__(
        self,
        watch: FleetWatch,
        library: LibraryServer,
        measurer: Measurer,
        experience: Experience,
        hub: HubFacts,
        *,
        proposers: Proposers | None = None,
    ) -> None:
        self._watch = watch
        self._library = library
        self._measurer = measurer
        self._experience = experience
        self._hub = hub
        self._proposers = proposers or Proposers()

    async def decide(self, question: Decide, uses: Sequence[Use], tell: Tell) -> None:
        """Tell `Planned` or `Refused`; `Profiling` before it while devices measure."""
        model = question.wish.model
        left_out = dict(question.excluded)
        try:
            card = await self._card(model)
            if shares_rows(question.wish):
                await self._library.learn_rows(card)
            planned = await self._at_once(question, card, uses) if question.hurry else None
            if planned is None:
                await self._measure(question, card, tell)
                late = f"did not measure {model} within {self._measurer.within_s:g} s"
                planned = await self._plan(question, self._ground(question, card, uses, left_out, late))
        except PlanningError as error:
            claims, over = await self._room(question, uses)
            waits = f". {', '.join(over)} must make room on {', '.join(sorted(claims))} first" if over else ""
            tell(Refused(question.ticket, failure(question.wish, f"{error}{waits}", left_out), claims, over))
        except NotInLibraryError as error:
            tell(Refused(question.ticket, failure(question.wish, str(error), left_out)))
        except (ValueError, ArithmeticError) as error:
            # What devices say of themselves is bounded, not vouched for: numbers nobody thought of end one decision.
            logger.exception("no decision", extra={"deployment": question.wish.deployment})
            tell(Refused(question.ticket, failure(question.wish, f"planning failed: {error}", left_out)))
        else:
            tell(planned)

    async def _at_once(self, question: Decide, card: ModelCard, uses: Sequence[Use]) -> Planned | None:
        """The plan over those who have measured already; None when there is none without the others."""
        yet = f"has not measured {card.name} yet"
        try:
            return await self._plan(question, self._ground(question, card, uses, dict(question.excluded), yet))
        except PlanningError as error:
            logger.info("no plan without measuring: %s", error, extra={"deployment": question.wish.deployment})
            return None

    async def ground(self, question: Decide, uses: Sequence[Use]) -> Ground | None:
        """Who may serve what is served already, as measured; None where its model has changed.

        Raises:
            NoDeviceError: nobody.
        """
        card = self._library.cards.get(question.wish.model)
        if card is None or (question.serving is not None and question.serving.card_sha != card.sha256):
            return None
        if shares_rows(question.wish):
            await self._library.learn_rows(card)
        return self._ground(question, card, uses, {}, f"has not measured {card.name} yet")

    async def _plan(self, question: Decide, ground: Ground) -> Planned:
        if question.serving is None:
            self._proposers.check(question.wish, ground.card, ground.facts)
        plan, decision = await asyncio.to_thread(make_plan, question, ground, self._hub)
        return Planned(question.ticket, plan, decision)

    async def _room(self, question: Decide, uses: Sequence[Use]) -> tuple[frozenset[str], tuple[str, ...]]:
        """Where there would be a plan if every deployment kept to its share of memory, and who holds more there."""
        wish, fleet = question.wish, self._watch.fleet
        card = self._library.cards.get(wish.model)
        if card is None:
            return frozenset(), ()
        try:
            ground = self._ground(question, card, uses, {}, "", contested=True)
            planned = await self._plan(question, ground)
        except PlanningError:
            return frozenset(), ()
        except (ValueError, ArithmeticError):
            # The refusal that led here stands, whatever numbers say of room.
            logger.exception("no telling who must make room", extra={"deployment": wish.deployment})
            return frozenset(), ()
        workers = {name: fleet.devices[name].worker for name in planned.plan.devices if name in fleet.devices}
        over = {
            name: others
            for name, worker in workers.items()
            if worker is not None and (others := over_share(worker, wish.deployment, wish.weight, uses))
        }
        return frozenset(over), tuple(sorted({other for others in over.values() for other in others}))

    async def _measure(self, question: Decide, card: ModelCard, tell: Tell) -> None:
        candidates = self._candidates(question)
        known = measured(self._watch.fleet, card, candidates)
        missing = [name for name in candidates if name not in known]
        if missing:
            tell(Profiling(question.ticket, measuring(question.wish, missing)))
            await self._measurer.measure(card, missing)

    def _candidates(self, question: Decide) -> list[str]:
        unwanted = {*question.wish.exclude, *question.excluded}
        return [name for name in self._watch.fleet.usable if name not in unwanted]

    def _ground(
        self,
        question: Decide,
        card: ModelCard,
        uses: Sequence[Use],
        left_out: dict[str, str],
        unmeasured: str,
        *,
        contested: bool = False,
    ) -> Ground:
        """Who may serve, as measured; `left_out` learns who may not, and why (`unmeasured`, of who has not)."""
        wish, fleet = question.wish, self._watch.fleet
        absent = {name: device.absence for name, device in fleet.devices.items() if not device.usable}
        left_out |= absent | dict.fromkeys(wish.exclude, "excluded") | dict(question.excluded)
        candidates = self._candidates(question)
        profiles = measured(fleet, card, candidates)
        for name in set(candidates) - profiles.keys():
            left_out[name] = unmeasured
        if not profiles:
            raise NoDeviceError(no_device(wish, left_out))
        devices = [(fleet.devices[name], profile) for name, profile in profiles.items()]
        facts = self._experience.facts(wish, card.sha256, devices, uses, contested=contested)
        left_out |= {one.name: one.beyond for one in facts if one.beyond}
        workers = [device.worker for device in fleet.devices.values() if device.worker is not None]
        held = held_blocks(card, card.sha256, workers)
        rows = self._library.rows(card.sha256) if shares_rows(wish) else None
        return Ground(card, facts, dict(left_out), held, self._experience.adaptation.exits, rows)

    async def _card(self, model: str) -> ModelCard:
        await self._library.scan()
        if model not in self._library.cards:
            raise NotInLibraryError(model, sorted(self._library.cards))
        return self._library.cards[model]
