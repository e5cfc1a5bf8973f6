"""Targets of AMP4EC's own comparison: against one eager PyTorch process with all cores of the fleet."""

from __future__ import annotations

from typing import Final

from bench.lookup import Results, nested
from bench.verdict import Verdict, judge_one, sentences

AMP4EC_LATENCY_PCT: Final = -78.35
AMP4EC_THROUGHPUT_PCT: Final = 414.73
"""Published changes against a monolithic PyTorch MobileNetV2 (arXiv 2504.00407) [P]."""


def paper_throughput(results: Results) -> Verdict:
    """AMP4EC's own comparison: against one eager PyTorch process with all cores of the fleet, threads as they come."""
    tuned = nested(results, "headline", "paper_way", "best_threads", "throughput_change_pct")
    same = nested(results, "headline", "fair_way", "throughput_change_pct")
    return judge_one(
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
    return judge_one(
        "The paper's way: MobileNetV2's latency against monolithic PyTorch",
        f"{AMP4EC_LATENCY_PCT:+.2f} %, or as near as the hardware lets it",
        nested(results, "headline", "paper_way", "latency_change_pct"),
        lambda change: change <= AMP4EC_LATENCY_PCT,
        less=True,
        form="{:+.1f} %",
        remark=remark,
    )
