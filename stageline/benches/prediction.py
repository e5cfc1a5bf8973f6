"""`stageline bench prediction`: how far predictions are off, on the demo's fleet and its three plans.

Stage times are what receipts say (computing and coding, the line at rest), latency is one request at a time with a rest
in between, throughput as many as the line takes. Errors are relative to what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Final

from rich.console import Console

from stageline.demo.phases import Amount
from stageline.demo.show import show
from stageline.demo.tables import off

_AMOUNT: Final = Amount(one_by_one=60, at_once=140)
_QUICK_AMOUNT: Final = Amount(one_by_one=6, at_once=14)


def run(progress: Callable[[str, float], None] | None = None, *, quick: bool = False) -> dict[str, Any]:
    """Run the demo quietly.

    Returns:
        `{"stage_error", "latency_error", "throughput_error", "phases": [...]}`; the errors are medians of absolute
        relative errors over stages, plans and plans.
    """
    if progress is not None:
        progress("the demo's three plans", 0.0)
    quiet = Console(quiet=True)
    outcome = show(quiet, quiet, _QUICK_AMOUNT if quick else _AMOUNT)
    latency, throughput, phases = [], [], []
    for phase in outcome.phases:
        predicted = phase.plan.predicted
        if predicted is None:
            continue
        latency.append(abs(off(predicted.latency_ms, phase.mean_ms)))
        throughput.append(abs(off(predicted.throughput_rps, phase.throughput_rps)))
        seen = phase.as_dict()
        phases.append(
            {key: seen[key] for key in ("name", "plan", "latency_ms", "throughput_rps", "predicted", "stage_times")}
        )
    return {
        "stage_error": round(outcome.prediction_error, 3),
        "latency_error": round(median(latency), 3),
        "throughput_error": round(median(throughput), 3),
        "phases": phases,
    }
