"""Targets of throughput and latency: beside the devices' own, other policies' plans, and other frameworks."""

from __future__ import annotations

from typing import Final

from bench.figures import figure, fleet_of, rows
from bench.lookup import Results, by_model, highest, lowest, ratios, some_failed
from bench.verdict import Case, Verdict, judge, sentences

FOUR_MODELS: Final = ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet-lite0")
OURS: Final = "exact"
"""What a deployment gets that names no policy. The better one of several of ours would be luck in our favour."""
FRAMEWORKS: Final = ("torch-rpc", "torch-pipelining", "ray-serve", "ray-serve-replicas")
"""Ray Serve in both ways that it can be used: as a pipeline, and as copies behind its own router."""


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
