"""Rows side by side as a plan for latency: which devices, how far, who gets which rows. Pure.

Bands may end at a handful of cuts: those where much work lies before little data. For each, devices that are quick at
it get rows so that all are done at about the same time, halo and links included (`models.rows.shares.fastest`), and the
blocks behind are planned as ever, for devices that have a band's work behind them. The quickest of these plans is set
beside the best one without (`Choice.without`); by how much it must win is the planner's own rule
(`services.planner.certainty`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from models.rows.chain import RowChain, Rows, RowsError
from models.rows.cost import band_fractions
from models.rows.needed import rows_needed
from models.rows.shares import fastest
from schemas.deployment import Deployment
from services.planner.after_a_band import behind, shifted
from services.planner.band_cost import arrival_ms, scatter_ms, shared_cost, slowest_ms
from services.planner.band_places import TEAM, places
from services.planner.band_times import Shared, band_times, busy_ms, each_band, may_take_a_band
from services.planner.cost import Floats, Problem
from services.planner.line_cost import Line, line_cost
from services.planner.policy import LEARNING_POLICIES, Choice
from services.planner.rows_known import RowsKnown
from services.planner.search import best_line
from services.planner.shared_choice import choose_shared

GROUP: Final = 8
"""Devices of a large fleet that are looked at: whoever computes the first blocks, or all of them, quickest."""
WORKED_OUT: Final = 4
"""Of all these plans, so many are worked out with every device's own burden; the others could hardly be quicker."""


def shares_rows(wish: Deployment) -> bool:
    """Whether plans for a wish may share rows: only where one request's latency is all that counts.

    Beside learners it is exact's plan that serves, so theirs may as its own.
    """
    return wish.side_by_side and wish.objective == "latency" and wish.policy in ("exact", *LEARNING_POLICIES)


def with_rows_shared(problem: Problem, plain: Choice) -> Choice:
    """`plain`, or the quickest plan with rows side by side where that is quicker.

    Only for the objective latency, where the wish allows it and the model's rows are known to be divisible.
    """
    known = problem.rows
    if known is None or not shares_rows(problem.deployment) or len(problem.devices) < 2:
        return plain
    group = _group(problem)
    found = _Search(problem.only(group), known).quickest(plain.predicted.latency_ms)
    if found is None:
        return plain
    shared, rest = found
    named = replace(shared, devices=tuple(group[device] for device in shared.devices))
    line = tuple(stage._replace(device=group[stage.device]) for stage in rest)
    best = choose_shared(problem, named, line, "rows side by side")
    return replace(best, without=plain) if best.predicted.latency_ms < plain.predicted.latency_ms else plain


def shared_rows(chain: RowChain, position: int, devices: Sequence[int], gives: Sequence[Rows]) -> Shared:
    """Bands that give these rows, with what they take and compute for that.

    Raises:
        models.rows.chain.RowsError: there are no such rows.
    """
    return Shared(
        position=position,
        devices=tuple(devices),
        gives=tuple(gives),
        takes=tuple(rows_needed(chain, rows) for rows in gives),
        shares=tuple(band_fractions(chain, rows) for rows in gives),
    )


def _group(problem: Problem) -> list[int]:
    fleet = range(len(problem.devices))
    if len(fleet) <= GROUP:
        return list(fleet)
    first, whole = problem.idle_compute_ms[:, 0, 1:].mean(axis=1), problem.latency_ms[:, 0, -1]
    by_turns = (device for pair in zip(np.argsort(first), np.argsort(whole), strict=True) for device in pair)
    return sorted(list(dict.fromkeys(int(device) for device in by_turns))[:GROUP])


class _Search:
    """For the quickest bands and stages behind them; what a band takes a device is worked out once."""

    def __init__(self, problem: Problem, known: RowsKnown) -> None:
        self._problem = problem
        self._known = known
        self._times: dict[tuple[int, int, bool], Floats] = {}

    def quickest(self, most_ms: float) -> tuple[Shared, Line] | None:
        """The quickest bands and stages behind them, if quicker than `most_ms`."""
        tried: list[tuple[float, Shared, int]] = []
        for position in places(self._problem, self._known):
            unburdened = best_line(behind(self._problem, position, {}))
            if unburdened is None:
                continue
            after = shifted(unburdened, position)
            joins = after[0].device
            stages_ms = line_cost(self._problem, after).latency_ms - arrival_ms(self._problem, position, joins, 1.0)
            for shared, bands_ms in self._bands(position, joins):
                if stages_ms + bands_ms < most_ms:
                    tried.append((stages_ms + bands_ms, shared, joins))
        best: tuple[float, Shared, Line] | None = None
        for at_least_ms, shared, joins in sorted(tried, key=lambda one: one[0])[:WORKED_OUT]:
            if best is not None and best[0] <= at_least_ms:
                break
            found = self._worked_out(shared, joins)
            if found is not None and found[0] < (best[0] if best is not None else most_ms):
                best = found
        return None if best is None else best[1:]

    def _worked_out(self, shared: Shared, joins: int) -> tuple[float, Shared, Line] | None:
        """Bands with the best stages behind them, every device with its own burden; and what all takes, ms.

        Where another device than was thought joins the bands, that one can take more of the rows: what it gives needs
        not travel.
        """
        best: tuple[float, Shared, Line] | None = None
        for _ in range(2):
            burden = busy_ms(shared, each_band(self._problem, shared, joins))
            line = best_line(behind(self._problem, shared.position, burden))
            if line is None:
                return best
            rest = shifted(line, shared.position)
            latency_ms = shared_cost(self._problem, shared, rest).line.latency_ms
            if best is None or latency_ms < best[0]:
                best = latency_ms, shared, rest
            if rest[0].device == joins:
                break
            joins = rest[0].device
            again = self._divided(shared.position, shared.devices, joins)
            if again is None:
                break
            shared = again
        return best

    def _bands(self, position: int, joins: int) -> Iterator[tuple[Shared, float]]:
        """Bands that end at a cut, by the quickest few devices and by all but one of them; and how long until all are
        at the device that joins them, at least, ms.
        """
        problem = self._problem
        able = [device for device in range(len(problem.devices)) if may_take_a_band(problem, device, position)]
        alone = {device: float(self._sizes_ms(device, position, stays=device == joins)[-1]) for device in able}
        team = sorted(sorted(able, key=lambda device: alone[device])[:TEAM])
        seen: list[Shared] = []
        for devices in (team, *([one for one in team if one != left_out] for left_out in team)):
            shared = self._divided(position, devices, joins)
            if shared is not None and shared not in seen:
                seen.append(shared)
                bands = each_band(problem, shared, joins)
                yield shared, slowest_ms([float(band.total_ms[0]) for band in bands]) + scatter_ms(problem, bands)

    def _divided(self, position: int, devices: Sequence[int], joins: int) -> Shared | None:
        """Bands that are all done at about the same time; None where fewer than two devices would get any rows.

        Args:
            position: of the cut that they end at.
            devices: that may share; who is too slow is left out.
            joins: the device whose band stays there.
        """
        if len(devices) < 2:
            return None
        chain = self._known.chain(int(self._problem.positions[position]))
        later_ms = arrival_ms(self._problem, position, joins, 0.5) if joins in devices else 0.0
        times = [
            self._sizes_ms(device, position, stays=device == joins) + (0.0 if device == joins else later_ms)
            for device in devices
        ]
        try:
            rows = fastest(chain.height, [_cost(one) for one in times])
        except RowsError:
            return None  # a device's times are beyond any number
        given = [(device, mine) for device, mine in zip(devices, rows, strict=True) if mine is not None]
        if len(given) < 2:
            return None
        return shared_rows(chain, position, [device for device, _ in given], [mine for _, mine in given])

    def _sizes_ms(self, device: int, position: int, *, stays: bool) -> Floats:
        """What bands of 0, 1, 2 ... rows take a device, (height + 1,), ms; never less than those of fewer rows."""
        key = device, position, stays
        if key not in self._times:
            table = self._known.table(int(self._problem.positions[position]))
            gives = np.arange(len(table.takes), dtype=np.float64)
            bands = band_times(
                self._problem, device, position, takes=table.takes, gives=gives, shares=table.shares, stays=stays
            )
            self._times[key] = np.maximum.accumulate(bands.total_ms)
        return self._times[key]


def _cost(times: Floats) -> Callable[[Rows], float]:
    by_size: list[float] = times.tolist()
    return lambda rows: by_size[rows[1] - rows[0]]
