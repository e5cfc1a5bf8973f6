"""What the replayed plan and the real one would give, predicted from the same facts in the same second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.plan import Plan, Prediction
from services.planner.alike import alike
from services.planner.cost import problem_from
from services.planner.exit_shares import ExitShares
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.review import still

Both = tuple[Prediction | None, Prediction | None]
"""Of the replayed plan and of the real one; None where there is no plan, or it could not go on."""
NEITHER: Final[Both] = (None, None)


@dataclass(frozen=True, slots=True)
class _Predicted:
    """What two plans would give, and the facts it follows from."""

    plans: tuple[Plan | None, Plan | None]
    facts: Sequence[DeviceFacts]
    both: Both


class Predictions:
    """Predictions by deployment, made anew only when plans or facts have changed."""

    def __init__(self, hub: HubFacts) -> None:
        self._hub = hub
        self._known: dict[str, _Predicted] = {}

    def of(
        self,
        wish: Deployment,
        card: ModelCard,
        plans: tuple[Plan | None, Plan | None],
        facts: Sequence[DeviceFacts],
        shares: ExitShares,
    ) -> Both:
        """What both plans would give on these facts."""
        if not any(plans):
            return NEITHER
        known = self._known.get(wish.deployment)
        if known is None or known.plans != plans or not alike(known.facts, facts):
            cuts = [cut for plan in plans if plan for cut in _cuts(plan)]
            make = partial(problem_from, card, wish, facts, self._hub, keep=cuts)

            def predicted(plan: Plan | None) -> Prediction | None:
                found = still(make(exits=shares.now(card, plan)), plan) if plan is not None else None
                return found.predicted if found is not None else None

            known = _Predicted(plans, facts, (predicted(plans[0]), predicted(plans[1])))
            self._known[wish.deployment] = known
        return known.both

    def forget(self, name: str) -> None:
        """Whatever was predicted for a deployment."""
        self._known.pop(name, None)


def _cuts(plan: Plan) -> Iterator[int]:
    for route in plan.routes:
        for stage in route.stages:
            yield from (stage.first, stage.last)
