"""From every request's result to the figures that are compared. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

import numpy as np

from bench.adaptive.contenders import ADAPTIVE
from bench.adaptive.loads import Asked

WANTED: Final = 0.20
"""By how much adapting should win: in p95 latency or in throughput."""


def figures(asked: Sequence[Asked], seconds: float, lost: int) -> dict[str, Any]:
    """What one contender did.

    Args:
        asked: every request of the run, answered or failed.
        seconds: how long the trace was; answers that came later count for latency and not for throughput.
        lost: requests without any result, by the submitter's audit.

    Returns:
        Counts; latency percentiles (ms; a failed request counts with the time until it failed); answers per second;
        joules per answer (mean), and what may be said of them. None where there is nothing to say it of.
    """
    answered = [one for one in asked if not one.failed]
    latencies = [one.latency_ms for one in asked]
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist() if latencies else (None, None, None)
    methods = {one.energy_method for one in answered}
    weakest = next((method for method in ("unknown", "modelled", "measured") if method in methods), "unknown")
    return {
        "submitted": len(asked) + lost,
        "answered": len(answered),
        "failed": dict(Counter(one.failed for one in asked if one.failed)),
        "lost": lost,
        "wrong": sum(not one.right for one in answered),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "throughput_rps": sum(0 <= one.done_s < seconds for one in answered) / seconds,
        "energy_j": fmean(one.energy_j for one in answered) if answered else None,
        "energy_method": weakest,
    }


def verdict(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Adapting against the best plan that stood still, by each measure; None where one side was not measured.

    Args:
        runs: figures by contender.

    Returns:
        By how much p95 latency is lower and throughput higher (shares of the best static plan's), which plan that was,
        and whether one of them is WANTED. `sound`: on every side all was answered, and right.
    """
    measured = {name: run for name, run in runs.items() if run["answered"]}
    static = {name: run for name, run in measured.items() if name != ADAPTIVE}
    if ADAPTIVE not in measured or not static:
        return None
    own = runs[ADAPTIVE]
    quickest = min(static, key=lambda name: float(static[name]["p95_ms"]))
    fastest = max(static, key=lambda name: float(static[name]["throughput_rps"]))
    p95_gain = 1 - own["p95_ms"] / static[quickest]["p95_ms"]
    throughput_gain = own["throughput_rps"] / static[fastest]["throughput_rps"] - 1
    return {
        "p95_gain": p95_gain,
        "p95_against": quickest,
        "throughput_gain": throughput_gain,
        "throughput_against": fastest,
        "wanted": WANTED,
        "reached": p95_gain >= WANTED or throughput_gain >= WANTED,
        "sound": all(run["lost"] == 0 and run["wrong"] == 0 and not run["failed"] for run in runs.values()),
    }


def over_time(asked: Sequence[Asked], seconds: float, bin_s: float) -> dict[str, list[float]]:
    """Per stretch of `bin_s`: answers per second by when they came, and p95 latency (ms) by when they were due.

    Stretches without a request have no latency: not-a-number.
    """
    count = max(1, round(seconds / bin_s))
    rates, latencies = [0] * count, [list[float]() for _ in range(count)]
    for one in asked:
        came, due = int(one.done_s // bin_s), int(one.due_s // bin_s)
        if not one.failed and 0 <= came < count:
            rates[came] += 1
        if 0 <= due < count:
            latencies[due].append(one.latency_ms)
    return {
        "at_s": [number * bin_s for number in range(count)],
        "throughput_rps": [rate / bin_s for rate in rates],
        "p95_ms": [float(np.percentile(some, 95)) if some else float("nan") for some in latencies],
    }
