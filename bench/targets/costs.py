"""Targets of what the services cost, and of how long planning may take and how good it must be."""

from __future__ import annotations

from bench.lookup import Results, nested, planned
from bench.verdict import Verdict, judge_one


def services_share(results: Results) -> Verdict:
    """What is not computing: broker, planner and monitors, of all CPU time while serving flat out."""
    return judge_one(
        "CPU time of broker, planner and monitors while MobileNetV2 is served flat out",
        "at most 10 %",
        nested(results, "overhead", "services_share_pct"),
        lambda share: share <= 10,
        less=True,
        form="{:.1f} %",
    )


def monitor_share(results: Results) -> Verdict:
    """A monitor that reports once a second."""
    return judge_one(
        "A monitor at 1 Hz, of one core",
        "at most 1 %",
        nested(results, "overhead", "monitor_core_pct"),
        lambda share: share <= 1,
        less=True,
        form="{:.2f} %",
    )


def exact_planning(results: Results) -> Verdict:
    """Time of the exact search."""
    found = planned(results, "exact", 8, "planning_ms")
    return judge_one(
        "Planning 8 devices exactly", "at most 50 ms", found, lambda ms: ms <= 50, less=True, form="{:.1f} ms"
    )


def large_planning(results: Results) -> Verdict:
    """Time of the heuristic for large fleets."""
    found = planned(results, "large-fleet", 1000, "planning_ms")
    return judge_one(
        "Planning 1000 devices", "at most 1000 ms", found, lambda ms: ms <= 1000, less=True, form="{:.0f} ms"
    )


def large_gap(results: Results) -> Verdict:
    """How far the heuristic's plan is from all devices computing all the time over free links."""
    found = planned(results, "large-fleet", 1000, "gap_pct")
    name = "Gap to the bound of the plan for 1000 devices"
    return judge_one(name, "at most 10 %", found, lambda gap: gap <= 10, less=True, form="{:.1f} %")
