"""Runs scenarios one after the other, on devices of their own or shared; what one fails of stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

from bench.chaos.outcome import Outcome
from bench.chaos.play import play
from bench.chaos.scenario import Scenario
from bench.reasons import reason
from bench.testbed import Testbed, testbed
from models.library import Library

Begun = Callable[[str], None]
_QUICK_SETTINGS: Final = {"STAGELINE_PROFILE_BUDGET_S": "0.5"}


@dataclass(frozen=True)
class Terms:
    """How a run is done."""

    library: Library
    folder: Path
    """Where logs go of what did not hold, and what faults write."""
    quick: bool = False
    """A small model, small loads; scenarios of the same fleet share its devices."""
    begun: Begun = lambda _: None
    """Told the name of each scenario as it starts."""
    tell: Begun = lambda _: None
    """Told what goes on in it."""


def run_all(scenarios: Sequence[Scenario], terms: Terms) -> Iterator[Outcome]:
    """The outcome of each, as soon as it is known."""
    if not terms.quick:
        for scenario in scenarios:
            yield from _on_one_bed([scenario], terms)
        return

    def devices(scenario: Scenario) -> tuple[str, tuple[tuple[str, str], ...]]:
        return scenario.fleet, tuple(sorted(scenario.environment.items()))

    for _, alike in groupby(sorted(scenarios, key=devices), devices):
        yield from _on_one_bed(list(alike), terms)


def _on_one_bed(scenarios: Sequence[Scenario], terms: Terms) -> Iterator[Outcome]:
    """One after the other on the same devices; on new ones after one that did not hold."""
    left = list(scenarios)
    while left:
        with ExitStack() as stack:
            terms.begun(left[0].name)
            terms.tell("starting devices")
            environment = {**(_QUICK_SETTINGS if terms.quick else {}), **left[0].environment}
            bed = stack.enter_context(
                testbed(left[0].fleet_file(), library=terms.library.root, environment=environment)
            )
            sound = True
            while left and sound:
                scenario = left.pop(0)
                terms.begun(scenario.name)
                outcome = _one(scenario, bed, terms)
                sound = not outcome.broken and not outcome.complaints
                if outcome.held is False:
                    _keep_logs(bed, terms.folder / scenario.name)
                yield outcome


def _one(scenario: Scenario, bed: Testbed, terms: Terms) -> Outcome:
    folder, begun_s = terms.folder / scenario.name, time.monotonic()
    try:
        outcome = play(scenario, bed, terms.library, folder=folder, quick=terms.quick, tell=terms.tell)
    except Exception as error:  # whatever one scenario meets, the others are to be played
        outcome = Outcome.failed_because(scenario, reason(error))
    return replace(outcome, took_s=time.monotonic() - begun_s)


def _keep_logs(bed: Testbed, folder: Path) -> None:
    for log in bed.folder.glob("**/*.log"):
        target = folder / log.relative_to(bed.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(log.read_bytes())
