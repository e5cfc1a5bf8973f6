"""Is what was predicted true? What was measured of a plan that is served, beside the plan's own predictions. Pure.

Stages are told by workers (what computing and codecs took a frame), routes by submitters (latency from end to end,
answers per second). Averages are moving, over the last ten reports or so, and right from the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.accuracy import SEEN_WITHIN_S, Accuracy, Compared, RouteAccuracy, Seen, StageAccuracy
from schemas.parts import Part, part_at, predicted_parts
from schemas.plan import Plan, Route, StagePrediction
from schemas.stages import StageTiming, Timing
from services.planner.moving_average import Average

NEW: Final = 0.1
"""Of a report, in an average."""
MOST_TOLD: Final = 1e9
MOST_SAMPLES: Final = 2**53
"""What reports claim is averaged and counted up to here, so that it can be told."""
_MOST_RATES: Final = 1024
"""Submitters times routes whose answers are added up."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A moving average, and of how many samples."""

    average: Average = field(default_factory=Average)
    samples: int = 0

    def with_report(self, value: float, samples: int) -> Figure:
        """After one more report; none of no samples."""
        return Figure(self.average.with_sample(value, NEW), self.samples + samples) if samples > 0 else self

    def beside(self, predicted: float) -> Compared:
        """With its prediction, as it is told."""
        measured = round(min(MOST_TOLD, self.average.value()), 3)
        return Compared(predicted=predicted, measured=measured, samples=min(MOST_SAMPLES, self.samples))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was measured of one plan."""

    plan: Plan
    stages: Mapping[str, Figure] = field(default_factory=dict)
    """By stage: computing and codecs of a frame, ms."""
    waits: Mapping[str, Figure] = field(default_factory=dict)
    """By stage: what frames waited for it, ms."""
    routes: Mapping[int, Figure] = field(default_factory=dict)
    """By route: latency, ms."""
    rates: Mapping[tuple[int, str], tuple[float, float]] = field(default_factory=dict)
    """By route and submitter: answers per second, and when that was told, s."""

    def with_timing(self, timing: Timing) -> Ledger:
        """After a worker's report."""
        mine = [one for one in timing.stages if self._is_mine(timing.device, one)]
        if not mine:
            return self
        took = {
            one.stage: self._of(self.stages, one.stage).with_report(one.compute_ms + one.codec_ms, one.frames)
            for one in mine
        }
        waited = {one.stage: self._of(self.waits, one.stage).with_report(one.wait_ms, one.frames) for one in mine}
        return replace(self, stages={**self.stages, **took}, waits={**self.waits, **waited})

    def with_seen(self, seen: Seen, now_s: float) -> Ledger:
        """After a submitter's report."""
        if (seen.deployment, seen.generation) != (self.plan.deployment, self.plan.generation):
            return self
        mine = [one for one in seen.routes if one.route < len(self.plan.routes)]
        latencies = {
            one.route: self.routes.get(one.route, Figure()).with_report(one.latency_ms, one.answers) for one in mine
        }
        told = {(one.route, seen.submitter): (one.answers / max(seen.period_s, 1e-3), now_s) for one in mine}
        recent = {key: rate for key, rate in self.rates.items() if now_s - rate[1] < SEEN_WITHIN_S}
        if len(recent) >= _MOST_RATES:
            told = {key: rate for key, rate in told.items() if key in recent}
        return replace(self, routes={**self.routes, **latencies}, rates={**recent, **told})

    def accuracy(self, now_s: float) -> Accuracy:
        """As it is told."""
        stages = tuple(
            StageAccuracy(stage=name, device=device, compute_ms=self.stages[name].beside(predicted.compute_ms))
            for name, device, predicted in stages_of(self.plan)
            if name in self.stages
        )
        return Accuracy(
            deployment=self.plan.deployment,
            generation=self.plan.generation,
            stages=stages,
            routes=tuple(
                self._route(number, route, now_s)
                for number, route in enumerate(self.plan.routes)
                if self.routes.get(number, Figure()).samples
            ),
            error=round(mean_error(stage.compute_ms for stage in stages), 4),
        )

    def explained_ms(self, number: int) -> float:
        """What stages of a route take longer than predicted, and frames wait for them, ms: not the links' fault."""
        bands, stages = [0.0], [0.0]
        for part, predicted in self._predicted(number):
            if part.stage in self.stages:
                took = self.stages[part.stage].average.value() + self._of(self.waits, part.stage).average.value()
                which = bands if part.is_band else stages
                which.append(max(0.0, took - predicted.compute_ms))
        return max(bands) + sum(stages)

    def slowness(self, number: int) -> float:
        """How many times longer than predicted the slowest stage of a route takes, at least 1: so much slower is it."""
        ratios = [
            self.stages[part.stage].average.value() / predicted.compute_ms
            for part, predicted in self._predicted(number)
            if part.stage in self.stages and predicted.compute_ms > 0
        ]
        return max(1.0, *ratios, 1.0)

    def _predicted(self, number: int) -> tuple[tuple[Part, StagePrediction], ...]:
        return predicted_parts(self.plan.routes[number], number) if number < len(self.plan.routes) else ()

    def _route(self, number: int, route: Route, now_s: float) -> RouteAccuracy:
        rates = [rate for (of, _), (rate, at_s) in self.rates.items() if of == number and now_s - at_s < SEEN_WITHIN_S]
        latency = self.routes[number]
        predicted = route.predicted
        return RouteAccuracy(
            route=number,
            latency_ms=latency.beside(predicted.latency_ms if predicted else 0.0),
            throughput_rps=Compared(
                predicted=predicted.throughput_rps if predicted else 0.0,
                measured=round(min(MOST_TOLD, sum(rates)), 3),
                samples=min(MOST_SAMPLES, latency.samples),
            ),
        )

    def _is_mine(self, device: str, one: StageTiming) -> bool:
        if (one.deployment, one.generation) != (self.plan.deployment, self.plan.generation) or not one.frames:
            return False
        part = part_at(self.plan, one.stage)
        return part is not None and part.device == device

    @staticmethod
    def _of(figures: Mapping[str, Figure], name: str) -> Figure:
        return figures.get(name, Figure())


def stages_of(plan: Plan) -> list[tuple[str, str, StagePrediction]]:
    """Every stage and band of a plan that has predictions: its id, its device, what is expected of it."""
    return [
        (part.stage, part.device, predicted)
        for number, route in enumerate(plan.routes)
        for part, predicted in predicted_parts(route, number)
    ]


def mean_error(figures: Iterable[Compared]) -> float:
    """Mean of |measured / predicted - 1|, weighted by samples; 0 of none."""
    known = [one for one in figures if one.predicted > 0 and one.samples > 0]
    total = sum(one.samples for one in known)
    off = sum(one.samples * abs(one.measured / one.predicted - 1) for one in known)
    return min(MOST_TOLD, off / total) if total else 0.0
