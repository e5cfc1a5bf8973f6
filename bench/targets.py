"""What Stageline has to reach, each target a pure function of results.json. The report begins with their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.verdict import Case, Verdict, figure, fleet_of, judge, rows, sentences

Results = Mapping[str, Any]

FOUR_MODELS: Final = ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet-lite0")
OURS: Final = ("exact", "large-fleet")
"""Stageline's own policies; all others are of the literature, or controls."""
FRAMEWORKS: Final = ("torch-rpc", "torch-pipelining", "ray-serve")
AMP4EC_LATENCY_PCT: Final = -78.35
AMP4EC_THROUGHPUT_PCT: Final = 414.73
"""Published changes against a monolithic PyTorch MobileNetV2 (arXiv 2504.00407) [P]."""


def verdicts(results: Results) -> list[Verdict]:
    """All targets, judged by what was measured so far."""
    return [
        near_the_bound(results, "h+m+l", 0.90),
        near_the_bound(results, "h+h+m+l", 0.90),
        near_the_bound(results, "eight unequal", 0.80),
        faster_than_policy(results, "amp4ec", 2.0),
        faster_than_policy(results, "even-split", 1.8),
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


def near_the_bound(results: Results, fleet: str, share: float) -> Verdict:
    """Throughput over what the same devices reach alone and flat out, added up."""
    found = {str(row.get("model")): figure(row, "ratio") for row in rows(results, "limit") if fleet_of(row) == fleet}
    return judge(
        f"Throughput over the devices' own, added up, on {fleet}",
        f"at least {share:.2f}",
        [Case(model, ratio) for model, ratio in found.items() if ratio is not None],
        reached=lambda ratio: ratio >= share,
        more_is_better=True,
        missing=[model for model in FOUR_MODELS if found.get(model) is None],
    )


def faster_than_policy(results: Results, policy: str, times: float, fleet: str = "h+m+l") -> Verdict:
    """Throughput of our plan over another policy's: same runtime, same services, same devices."""
    cases, missing = [], []
    for model, found in _by_model(results, fleet).items():
        ours, theirs = _best(found, OURS, "throughput_rps", max), _best(found, (policy,), "throughput_rps", max)
        if ours is None or not theirs:
            missing.append(model)
        else:
            cases.append(Case(model, ours / theirs))
    return judge(
        f"Throughput over that of {policy}'s plan on {fleet}, same runtime",
        f"at least {times:.1f} x",
        cases,
        reached=lambda ratio: ratio >= times,
        more_is_better=True,
        missing=missing or ([] if cases else [f"{policy} on {fleet}"]),
        form="{:.2f} x",
    )


def faster_than_frameworks(results: Results) -> Verdict:
    """Throughput over the best of the frameworks that split models, where they run here."""
    cases, missing, seen = [], [], set()
    measured = rows(results, "peers")
    for model in dict.fromkeys(str(row.get("model")) for row in measured):
        found = {
            str(row.get("name")): value
            for row in measured
            if row.get("model") == model and (value := figure(row, "throughput_rps"))
        }
        theirs = {name: found[name] for name in FRAMEWORKS if name in found}
        seen |= set(theirs)
        if "stageline" not in found or not theirs:
            missing.append(model)
            continue
        best = max(theirs, key=lambda name: theirs[name])
        cases.append(Case(f"{model} against {best}", found["stageline"] / theirs[best]))
    absent = [name for name in FRAMEWORKS if name not in seen]
    return judge(
        "Throughput over the best of PyTorch RPC, torch pipelining and Ray Serve",
        "at least 2.0 x",
        cases,
        reached=lambda ratio: ratio >= 2,
        more_is_better=True,
        missing=[*missing, *absent],
        form="{:.2f} x",
    )


def latency_near_best(results: Results) -> Verdict:
    """One request at a time: our plan for latency beside the quickest plan of any policy, fleet by fleet."""
    cases, missing = [], []
    for fleet in dict.fromkeys(fleet_of(row) for row in rows(results, "policies")):
        for model, found in _by_model(results, fleet).items():
            ours = _best(found, OURS, "latency_ms", min)
            best = _best(found, tuple(name for name, _row in found), "latency_ms", min)
            if ours is None or not best:
                missing.append(f"{model} on {fleet}")
            else:
                cases.append(Case(f"{model} on {fleet}", ours / best))
    return judge(
        "Latency over the best of all policies, every fleet and model",
        "at most 1.10 x",
        cases,
        reached=lambda ratio: ratio <= 1.10,
        more_is_better=False,
        missing=missing or ([] if cases else ["policies"]),
        form="{:.2f} x",
    )


def paper_throughput(results: Results) -> Verdict:
    """AMP4EC's own comparison: against one eager PyTorch process with all cores of the fleet, threads as they come."""
    tuned = _nested(results, "headline", "paper_way", "best_threads", "throughput_change_pct")
    same = _nested(results, "headline", "fair_way", "throughput_change_pct")
    return _one(
        "The paper's way: MobileNetV2's throughput against monolithic PyTorch",
        f"at least {AMP4EC_THROUGHPUT_PCT:+.2f} %",
        _nested(results, "headline", "paper_way", "throughput_change_pct"),
        lambda change: change >= AMP4EC_THROUGHPUT_PCT,
        form="{:+.1f} %",
        remark=sentences(
            f"against PyTorch with the best number of threads {tuned[0].value:+.1f} %" if tuned else "",
            f"against our own runtime with as many cores {same[0].value:+.1f} %" if same else "",
        ),
    )


def paper_latency(results: Results) -> Verdict:
    """The same comparison's latency; the floor is what the strongest device alone takes."""
    floor = _nested(results, "headline", "paper_way", "floor_change_pct")
    tuned = _nested(results, "headline", "paper_way", "best_threads", "latency_change_pct")
    remark = sentences(
        f"the strongest device alone, without bus or hop, gives {floor[0].value:+.1f} %" if floor else "",
        f"against PyTorch with the best number of threads {tuned[0].value:+.1f} %" if tuned else "",
    )
    return _one(
        "The paper's way: MobileNetV2's latency against monolithic PyTorch",
        f"{AMP4EC_LATENCY_PCT:+.2f} %, or as near as the hardware lets it",
        _nested(results, "headline", "paper_way", "latency_change_pct"),
        lambda change: change <= AMP4EC_LATENCY_PCT,
        less=True,
        form="{:+.1f} %",
        remark=remark,
    )


def services_share(results: Results) -> Verdict:
    """What is not computing: broker, planner and monitors, of all CPU time while serving flat out."""
    return _one(
        "CPU time of broker, planner and monitors while MobileNetV2 is served flat out",
        "at most 10 %",
        _nested(results, "overhead", "services_share_pct"),
        lambda share: share <= 10,
        less=True,
        form="{:.1f} %",
    )


def monitor_share(results: Results) -> Verdict:
    """A monitor that reports once a second."""
    return _one(
        "A monitor at 1 Hz, of one core",
        "at most 1 %",
        _nested(results, "overhead", "monitor_core_pct"),
        lambda share: share <= 1,
        less=True,
        form="{:.2f} %",
    )


def exact_planning(results: Results) -> Verdict:
    """Time of the exact search."""
    found = _planned(results, "exact", 8, "planning_ms")
    return _one("Planning 8 devices exactly", "at most 50 ms", found, lambda ms: ms <= 50, less=True, form="{:.1f} ms")


def large_planning(results: Results) -> Verdict:
    """Time of the heuristic for large fleets."""
    found = _planned(results, "large-fleet", 1000, "planning_ms")
    return _one("Planning 1000 devices", "at most 1000 ms", found, lambda ms: ms <= 1000, less=True, form="{:.0f} ms")


def large_gap(results: Results) -> Verdict:
    """How far the heuristic's plan is from all devices computing all the time over free links."""
    found = _planned(results, "large-fleet", 1000, "gap_pct")
    name = "Gap to the bound of the plan for 1000 devices"
    return _one(name, "at most 10 %", found, lambda gap: gap <= 10, less=True, form="{:.1f} %")


def _planned(results: Results, policy: str, devices: int, key: str) -> list[Case]:
    return [
        Case(", ".join(str(row[key]) for key in ("model", "objective", "memory") if key in row), value)
        for row in rows(results, "planning")
        if row.get("policy") == policy and row.get("devices") == devices and (value := figure(row, key)) is not None
    ]


def _one(
    name: str,
    wanted: str,
    found: list[Case],
    reached: Callable[[float], bool],
    *,
    form: str,
    less: bool = False,
    remark: str = "",
) -> Verdict:
    missing = [] if found else ["its experiment"]
    return judge(
        name, wanted, found, reached=reached, more_is_better=not less, missing=missing, form=form, remark=remark
    )


def _nested(results: Results, *path: str) -> list[Case]:
    value: Any = results
    for key in path[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    found = figure(value, path[-1]) if isinstance(value, dict) else None
    return [] if found is None else [Case("", found)]


def _by_model(results: Results, fleet: str) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """Rows of one fleet as (policy, row), by model."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in rows(results, "policies"):
        if fleet_of(row) == fleet:
            found.setdefault(str(row.get("model")), []).append((str(row.get("policy")), row))
    return found


def _best(found: list[tuple[str, Mapping[str, Any]]], policies: tuple[str, ...], key: str, choose: Any) -> float | None:
    values = [value for name, row in found if name in policies and (value := figure(row, key)) is not None]
    best: float | None = choose(values) if values else None
    return best
