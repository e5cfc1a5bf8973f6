"""What Stageline has to reach, each target a pure function of results.json. The report begins with their verdicts."""

from __future__ import annotations

from typing import Final

from bench.lookup import Results
from bench.targets.costs import exact_planning, large_gap, large_planning, monitor_share, services_share
from bench.targets.paper import paper_latency, paper_throughput
from bench.targets.speed import faster_than_frameworks, faster_than_policy, latency_near_best, near_the_bound
from bench.verdict import Verdict

AMP4EC: Final = ("amp4ec", "amp4ec-plain")
"""Parts sized by capability, as published, and alike, as in the authors' code: the better one is the one to beat."""


def verdicts(results: Results) -> list[Verdict]:
    """All targets, judged by what was measured so far."""
    return [
        near_the_bound(results, "h+m+l", 0.90),
        near_the_bound(results, "h+h+m+l", 0.90),
        near_the_bound(results, "eight unequal", 0.80),
        faster_than_policy(results, AMP4EC, 2.0),
        faster_than_policy(results, ("even-split",), 1.8),
        faster_than_frameworks(results),
        latency_near_best(results),
        paper_throughput(results),
        paper_latency(results),
        services_share(results),
        monitor_share(results),
        exact_planning(results),
        large_planning(results),
        large_gap(results),
    ]
