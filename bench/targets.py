"""What Stageline has to reach, each target a pure function of results.json. The report begins with their verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bench.figures import figure, fleet_of, rows
from bench.lookup import Results, by_model, highest, lowest, nested, planned, ratios, some_failed
from bench.verdict import Case, Verdict, judge, sentences

FOUR_MODELS: Final = ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet-lite0")
OURS: Final = "exact"
"""What a deployment gets that names no policy. The better one of several of ours would be luck in our favour."""
AMP4EC: Final = ("amp4ec", "amp4ec-plain")
"""Parts sized by capability, as published, and alike, as in the authors' code: the better one is the one to beat."""
FRAMEWORKS: Final = ("torch-rpc", "torch-pipelining", "ray-serve", "ray-serve-replicas")
"""Ray Serve in both ways that it can be used: as a pipeline, and as copies behind its own router."""
AMP4EC_LATENCY_PCT: Final = -78.35
AMP4EC_THROUGHPUT_PCT: Final = 414.73
"""Published changes against a monolithic PyTorch MobileNetV2 (arXiv 2504.00407) [P]."""


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


def near_the_bound(results: Results, fleet: str, share: float) -> Verdict:
    """Throughput over what the same devices reach alone and flat out, added up."""
    mine = [row for row in rows(results, "limit") if fleet_of(row) == fleet]
    found = {str(row.get("model")): figure(row, "ratio") for row in mine}
    once = [row for row in mine if row.get("rounds") == 1]
    replanned = ", ".join(str(row.get("model")) for row in mine if row.get("replanned"))
    return judge(
        f"Throughput over the devices' own, added up, on {fleet}",
        f"at least {share:.2f}",
        [Case(model, ratio) for model, ratio in found.items() if ratio is not None],
        reached=lambda ratio: ratio >= share,
        more_is_better=True,
        missing=[model for model in FOUR_MODELS if found.get(model) is None],
        remark=sentences(
            "of one round, so without a spread" if once else "",
            f"another plan took over while it was measured: {replanned}" if replanned else "",
        ),
    )


def faster_than_policy(results: Results, policies: tuple[str, ...], times: float, fleet: str = "h+m+l") -> Verdict:
    """Throughput of our plan over that of another policy (the best of its variants): same runtime, same devices."""
    cases: list[Case] = []
    copies: list[Case] = []
    most: list[Case] = []
    missing: list[str] = []
    bounds = {
        str(row.get("model")): figure(row, "bound_rps") for row in rows(results, "limit") if fleet_of(row) == fleet
    }
    for model, found in by_model(results, fleet).items():
        ours = highest(found, (OURS,), "throughput_rps")
        theirs = highest(found, policies, "throughput_rps")
        plain = highest(found, ("replicas",), "throughput_rps")
        if ours is not None and plain:
            copies.append(Case(model, ours / plain))
        if theirs and (bound := bounds.get(model)):
            most.append(Case(model, bound / theirs))
        missing += some_failed(found, (OURS, *policies), f"with {model}")
        if ours is None or not theirs:
            missing.append(model)
        else:
            cases.append(Case(model, ours / theirs))
    return judge(
        f"Throughput over that of {policies[0]}'s plan on {fleet}, same runtime",
        f"at least {times:.1f} x",
        cases,
        reached=lambda ratio: ratio >= times,
        more_is_better=True,
        missing=missing or ([] if cases else [f"{policies[0]} on {fleet}"]),
        form="{:.2f} x",
        remark=sentences(
            ratios("over plain replicas, the control", copies),
            ratios("what all devices do alone, added up, is no more than this over theirs", most),
        ),
    )


def faster_than_frameworks(results: Results) -> Verdict:
    """Throughput over the best of the frameworks that split models, or copy them, where they run here."""
    cases: list[Case] = []
    copies: list[Case] = []
    missing: list[str] = []
    measured = rows(results, "peers")
    for model in dict.fromkeys(str(row.get("model")) for row in measured):
        found = [(str(row.get("name")), row) for row in measured if str(row.get("model")) == model]
        rates = {name: value for name, row in found if (value := figure(row, "throughput_rps"))}
        theirs = {name: rates[name] for name in FRAMEWORKS if name in rates}
        missing += [f"{name} with {model}" for name in FRAMEWORKS if name not in rates]
        missing += some_failed(found, ("stageline", *theirs), f"with {model}")
        if "stageline" not in rates or not theirs:
            missing.append(model)
            continue
        if "onnxruntime-replicas" in rates:
            copies.append(Case(model, rates["stageline"] / rates["onnxruntime-replicas"]))
        best = max(theirs, key=lambda name: theirs[name])
        cases.append(Case(f"{model} against {best}", rates["stageline"] / theirs[best]))
    return judge(
        "Throughput over the best of PyTorch RPC, torch pipelining and Ray Serve",
        "at least 2.0 x",
        cases,
        reached=lambda ratio: ratio >= 2,
        more_is_better=True,
        missing=missing or ([] if cases else FRAMEWORKS),
        form="{:.2f} x",
        remark=sentences(
            "the two of PyTorch compute in eager PyTorch, Ray Serve in our own runtime" if cases else "",
            ratios("over whole copies of our runtime on bare TCP, the control", copies),
        ),
    )


def latency_near_best(results: Results) -> Verdict:
    """One request at a time: our plan for latency beside the quickest plan of any policy, fleet by fleet."""
    cases: list[Case] = []
    missing: list[str] = []
    for fleet in dict.fromkeys(fleet_of(row) for row in rows(results, "policies")):
        for model, found in by_model(results, fleet).items():
            ours = lowest(found, (OURS,), "latency_ms")
            best = lowest(found, tuple(name for name, _row in found), "latency_ms")
            missing += some_failed(found, (OURS,), f"with {model} on {fleet}")
            if ours is None or not best:
                missing.append(f"{model} on {fleet}")
            else:
                cases.append(Case(f"{model} on {fleet}", ours / best))
    return judge(
        "Latency over the best of all policies, every fleet and model measured",
        "at most 1.10 x",
        cases,
        reached=lambda ratio: ratio <= 1.10,
        more_is_better=False,
        missing=missing or ([] if cases else ["policies"]),
        form="{:.2f} x",
    )


def paper_throughput(results: Results) -> Verdict:
    """AMP4EC's own comparison: against one eager PyTorch process with all cores of the fleet, threads as they come."""
    tuned = nested(results, "headline", "paper_way", "best_threads", "throughput_change_pct")
    same = nested(results, "headline", "fair_way", "throughput_change_pct")
    return _one(
        "The paper's way: MobileNetV2's throughput against monolithic PyTorch",
        f"at least {AMP4EC_THROUGHPUT_PCT:+.2f} %",
        nested(results, "headline", "paper_way", "throughput_change_pct"),
        lambda change: change >= AMP4EC_THROUGHPUT_PCT,
        form="{:+.1f} %",
        remark=sentences(
            f"against PyTorch with the best number of threads {tuned[0].value:+.1f} %" if tuned else "",
            f"against our own runtime with as many cores {same[0].value:+.1f} %" if same else "",
        ),
    )


def paper_latency(results: Results) -> Verdict:
    """The same comparison's latency; the floor is what the strongest device alone takes."""
    floor = nested(results, "headline", "paper_way", "floor_change_pct")
    tuned = nested(results, "headline", "paper_way", "best_threads", "latency_change_pct")
    remark = sentences(
        f"the strongest device alone, without bus or hop, gives {floor[0].value:+.1f} %" if floor else "",
        f"against PyTorch with the best number of threads {tuned[0].value:+.1f} %" if tuned else "",
    )
    return _one(
        "The paper's way: MobileNetV2's latency against monolithic PyTorch",
        f"{AMP4EC_LATENCY_PCT:+.2f} %, or as near as the hardware lets it",
        nested(results, "headline", "paper_way", "latency_change_pct"),
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
        nested(results, "overhead", "services_share_pct"),
        lambda share: share <= 10,
        less=True,
        form="{:.1f} %",
    )


def monitor_share(results: Results) -> Verdict:
    """A monitor that reports once a second."""
    return _one(
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
    return _one("Planning 8 devices exactly", "at most 50 ms", found, lambda ms: ms <= 50, less=True, form="{:.1f} ms")


def large_planning(results: Results) -> Verdict:
    """Time of the heuristic for large fleets."""
    found = planned(results, "large-fleet", 1000, "planning_ms")
    return _one("Planning 1000 devices", "at most 1000 ms", found, lambda ms: ms <= 1000, less=True, form="{:.0f} ms")


def large_gap(results: Results) -> Verdict:
    """How far the heuristic's plan is from all devices computing all the time over free links."""
    found = planned(results, "large-fleet", 1000, "gap_pct")
    name = "Gap to the bound of the plan for 1000 devices"
    return _one(name, "at most 10 %", found, lambda gap: gap <= 10, less=True, form="{:.1f} %")


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
