"""Which plan the planner would make of a wish now: its own pure decision, over what devices said of themselves."""

from __future__ import annotations

from schemas.deployment import Deployment
from schemas.plan import Plan
from services.planner.events import Decide
from services.planner.fleet import Fleet
from services.planner.ground import Ground, facts_of
from services.planner.plan_making import make_plan
from services.planner.rows_known import RowsKnown
from services.planner.settings import PlannerSettings
from services.planner.side_by_side import shares_rows
from services.settings import load


def on_paper(fleet: Fleet, wish: Deployment, rows: RowsKnown | None = None) -> Plan:
    """The plan for `wish`, of generation 1.

    Args:
        fleet: e.g. as `services.planner.fleet.read_fleet` finds it on the bus.
        wish: of a model that the devices have measured; who has not is left out.
        rows: of that model; without them they are not shared.

    Raises:
        services.planner.errors.PlanningError: there is none; says why.
        KeyError: the fleet does not know the model.
    """
    card = fleet.cards[wish.model]
    measured = {name: (device, device.profile_of(card.name, card.sha256)) for name, device in fleet.usable.items()}
    facts = [facts_of(device, profile, wish.deployment) for device, profile in measured.values() if profile is not None]
    left_out = {name: "has not measured the model" for name, (_, profile) in measured.items() if profile is None}
    ground = Ground(card, tuple(facts), left_out, rows=rows if shares_rows(wish) else None)
    plan, _decision = make_plan(Decide(0, wish, {}), ground, load(PlannerSettings).hub_facts)
    return plan


def sameness(plan: Plan, *, flat_out: bool) -> str:
    """Equal for plans that serve alike: same routes and shares (to a percent), kept to or not, and same windows.

    One request at a time (`flat_out` is False) never meets a window, nor waits for another route's turn.
    """
    left_out = {"predicted", "stage_predictions", "weight", *(() if flat_out else ("window",))}
    routes = [route.model_dump_json(exclude=left_out) + f" {route.weight:.2f}" for route in plan.routes]
    in_turn = flat_out and plan.in_turn and len(routes) > 1
    return "\n".join([*sorted(routes), *["in turn"] * in_turn])
