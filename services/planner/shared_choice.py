"""Bands and the stages behind them as a complete choice; and choices that were made before, as they would do now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from models.rows.chain import RowsError
from models.rows.cost import band_fractions
from models.rows.specs import input_axis
from schemas.plan import Band, Route, SideBySide, Stage, StagePrediction
from services.planner.after_a_band import band_need_bytes
from services.planner.band_cost import SharedCost, shared_cost
from services.planner.band_times import BandTimes, Shared
from services.planner.complete import choose, lines_of, stage_prediction
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.flow import predict_at, rates_rps, window
from services.planner.line_cost import Line, in_bound
from services.planner.policy import Choice


def choose_shared(problem: Problem, shared: Shared, rest: Line, label: str, notes: Iterable[str] = ()) -> Choice:
    """Complete bands and the stages behind them with windows and predictions: a plan of one route.

    Raises:
        InfeasibleError: a stage or band that breaks a constraint.
    """
    cost = shared_cost(problem, shared, rest)
    tight = [
        device for device in shared.devices if band_need_bytes(problem, shared.position) > problem.budget_bytes(device)
    ]
    if tight or not in_bound(problem, cost.line):
        raise InfeasibleError(
            f"{label}: a stage or band does not fit its device, breaks a pin, or its link carries nothing"
        )
    rates = rates_rps(problem, [cost.line])
    predicted = predict_at(problem, [cost.line], rates)
    codec = problem.deployment.codec
    borders = problem.positions.tolist()
    route = Route(
        side_by_side=SideBySide(
            last=borders[shared.position],
            bands=tuple(
                Band(device=problem.devices[device].name, takes=takes, gives=gives)
                for device, takes, gives in zip(shared.devices, shared.takes, shared.gives, strict=True)
            ),
            codec=codec,
            predictions=tuple(map(_band_prediction, cost.bands)),
        ),
        stages=tuple(
            Stage(
                device=problem.devices[stage.device].name,
                first=borders[stage.first],
                last=borders[stage.last],
                codec=codec if number < len(rest) else "fp32",
            )
            for number, stage in enumerate(rest, 1)
        ),
        window=window(problem, cost.line),
        predicted=predicted,
        stage_predictions=_stage_predictions(problem, rest, cost),
    )
    return Choice(routes=(route,), predicted=predicted, label=label, notes=tuple(notes), exits=problem.exits)


def again(
    problem: Problem,
    routes: Sequence[Route],
    label: str,
    notes: Iterable[str] = (),
    *,
    shares: Sequence[float] | None = None,
) -> Choice:
    """Routes that were chosen before, with what they give now.

    Raises:
        InfeasibleError: they break a constraint, or name what there is not any more.
    """
    if all(route.side_by_side is None for route in routes):
        return choose(problem, lines_of(problem, routes), label, notes, shares=shares)
    if len(routes) > 1:
        raise InfeasibleError(f"{label}: {len(routes)} routes, and rows are shared in a plan of one only")
    (rest,) = lines_of(problem, routes)
    return choose_shared(problem, shared_of(problem, routes[0], rest), rest, label, notes)


def truly(problem: Problem, found: Choice) -> Choice:
    """The same routes, with what they cost in this problem."""
    shares = [route.weight for route in found.routes] if found.in_turn else None
    now = again(problem, found.routes, found.label, found.notes, shares=shares)
    return replace(now, without=truly(problem, found.without) if found.without is not None else None)


def shared_of(problem: Problem, route: Route, rest: Line) -> Shared:
    """A route's bands back in the problem's own numbers.

    Raises:
        InfeasibleError: a device or rows that the problem does not have.
    """
    bands = route.side_by_side.bands if route.side_by_side is not None else ()
    numbers = {facts.name: index for index, facts in enumerate(problem.devices)}
    gone = [band.device for band in bands if band.device not in numbers]
    if gone:
        raise InfeasibleError(f"{', '.join(gone)} is no device of this problem")
    try:
        return Shared(
            position=rest[0].first,
            devices=tuple(numbers[band.device] for band in bands),
            takes=tuple(band.takes for band in bands),
            gives=tuple(band.gives for band in bands),
            shares=tuple(_fractions(problem, rest, band) for band in bands),
        )
    except RowsError as error:
        raise InfeasibleError(f"{problem.card.name} has no such rows: {error}") from error


def _fractions(problem: Problem, rest: Line, band: Band) -> tuple[float, ...]:
    """How much of each block a band computes; where nobody knows the model's rows, what it takes tells roughly."""
    last = int(problem.positions[rest[0].first])
    if problem.rows is not None:
        return band_fractions(problem.rows.chain(last), band.gives)
    taken = (band.takes[1] - band.takes[0]) / problem.card.inputs[0].shape[input_axis(problem.card)]
    return tuple(np.full(last, min(1.0, taken)).tolist())


def _band_prediction(band: BandTimes) -> StagePrediction:
    return StagePrediction(
        down_ms=float(band.down_ms[0]),
        compute_ms=float(band.compute_ms[0]),
        frame_ms=float(band.frame_ms[0]),
        up_ms=float(band.up_ms[0]),
    )


def _stage_predictions(problem: Problem, rest: Line, cost: SharedCost) -> tuple[StagePrediction, ...]:
    told = []
    for number, (stage, more_ms) in enumerate(zip(rest, cost.more_ms, strict=True)):
        alone = stage_prediction(problem, stage)
        frames_ms, share = (cost.further_frames_ms, cost.arriving) if number == 0 else (0.0, 1.0)
        changed = {
            "down_ms": share * alone.down_ms,
            "compute_ms": alone.compute_ms + more_ms,
            "frame_ms": alone.frame_ms + frames_ms,
        }
        told.append(alone.model_copy(update=changed))
    return tuple(told)
