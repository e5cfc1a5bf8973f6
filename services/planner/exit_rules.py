"""Which exits may be open, at which thresholds: what a wish says of them, and what a model has. Pure.

A wish may give thresholds, or the least accuracy, or (objective `latency`) a bound on the latency. Where thresholds are
to be chosen, they are those of the card's operating points, whose accuracy was measured; which of them, is chosen
together with the split (`services.planner.exit_choice`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from schemas.deployment import Deployment
from schemas.model import CLOSED, ModelCard, OperatingPoint
from schemas.plan import ExitRule
from services.planner.errors import PlanningError
from services.planner.exit_shares import NO_SHARES, ExitShares
from services.planner.operating_points import point_at, thresholds_of

POINTS_MAX: Final = 12
"""Operating points that plans are made for; of more, some spread evenly over the accuracies."""


class ExitWishError(PlanningError):
    """What is wished of exits cannot be had of this model, by any plan; the message says what there is."""


def check_exits(card: ModelCard, wish: Deployment) -> None:
    """Whether the model has what is wished of its exits.

    Raises:
        ExitWishError: no such exit, no exits at all, nothing measured, or an accuracy that nothing measured reaches.
    """
    if not card.exits:
        asked = [
            text
            for text, given in (
                ("thresholds", wish.thresholds),
                ("exits to close", wish.closed_exits),
                ("a least accuracy", wish.accuracy_min is not None),
            )
            if given
        ]
        if asked:
            raise ExitWishError(
                f"{card.name} has no exits: leave out {' and '.join(asked)}, or give it exits (`stageline exits train`)"
            )
        return
    check_names(card, (*wish.thresholds, *wish.closed_exits))
    if wish.accuracy_min is None:
        return
    if not card.operating_points:
        raise ExitWishError(
            f"nobody has measured how accurate {card.name} is at which thresholds: give thresholds, or measure it "
            "(`stageline exits calibrate`)"
        )
    measured, closed = _measured(card, wish), ", ".join(wish.closed_exits)
    if not measured:
        raise ExitWishError(
            f"nobody has measured how accurate {card.name} is with {closed} closed: leave exits open, or the least "
            "accuracy out and give thresholds"
        )
    best = max(point.accuracy for point in measured)
    if best < wish.accuracy_min:
        raise ExitWishError(
            f"no thresholds of {card.name} reach an accuracy of {100 * wish.accuracy_min:.6g}%: the best that was "
            f"measured{f' with {closed} closed' if closed else ''} is {best:.2%}"
        )


def check_names(card: ModelCard, names: Iterable[str]) -> None:
    """Whether the model has these exits.

    Raises:
        ExitWishError: one that it has not; lists those it has.
    """
    have = [one.name for one in card.exits]
    for name in names:
        if name not in have:
            there = f"it has {', '.join(have)}" if have else "it has none (`stageline exits train` gives it some)"
            raise ExitWishError(f"{card.name} has no exit {name!r}: {there}")


def bound_decides(card: ModelCard, wish: Deployment) -> bool:
    """Whether the latency bound chooses among operating points."""
    return (
        wish.latency_bound_ms is not None
        and wish.objective == "latency"
        and not wish.thresholds
        and bool(card.operating_points)
    )


def allowed_rules(
    card: ModelCard, wish: Deployment, shares: ExitShares = NO_SHARES
) -> tuple[tuple[ExitRule, ...], ...]:
    """The sets of open exits that the wish leaves to choose from, at least one; the most accurate first. Pure.

    Args:
        card: the model.
        wish: what is asked for.
        shares: how many were seen to leave.

    Raises:
        ExitWishError: what is wished cannot be had of this model.
    """
    check_exits(card, wish)
    open_ = [one for one in card.exits if one.name not in wish.closed_exits]
    if not open_:
        return ((),)
    sha = card.sha256
    if wish.accuracy_min is None and not bound_decides(card, wish):
        usual = {one.name: wish.thresholds.get(one.name, one.threshold) for one in open_}
        return (shares.rules(wish.deployment, card, _without_closed(usual), sha),)
    least = wish.accuracy_min or 0.0
    measured = _measured(card, wish)
    if wish.accuracy_min is None and not measured:
        measured = list(card.operating_points)  # nothing is promised of the accuracy
    points = _spread(sorted((p for p in measured if p.accuracy >= least), key=lambda p: -p.accuracy))
    names = {one.name for one in open_}
    sets = [
        {name: threshold for name, threshold in thresholds_of(card, point).items() if name in names} for point in points
    ]
    return tuple(shares.rules(wish.deployment, card, _without_closed(thresholds), sha) for thresholds in sets)


def accuracy_of(card: ModelCard, rules: Iterable[ExitRule]) -> float | None:
    """What validation data says of just these thresholds; None where it says nothing."""
    point = point_at(card, {rule.name: rule.threshold for rule in rules})
    return point.accuracy if point is not None else None


def _measured(card: ModelCard, wish: Deployment) -> list[OperatingPoint]:
    """Operating points whose accuracy is that of a plan without the exits that are to be closed."""
    places = [place for place, one in enumerate(card.exits) if one.name in wish.closed_exits]
    return [point for point in card.operating_points if all(point.thresholds[place] >= CLOSED for place in places)]


def _without_closed(thresholds: Mapping[str, float]) -> dict[str, float]:
    return {name: threshold for name, threshold in thresholds.items() if threshold < CLOSED}


def _spread(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """At most POINTS_MAX of them, the first and the last among them."""
    if len(points) <= POINTS_MAX:
        return list(points)
    step = (len(points) - 1) / (POINTS_MAX - 1)
    return [points[round(number * step)] for number in range(POINTS_MAX)]
