"""A frame's header says how long its request may still take."""

from __future__ import annotations

from schemas.frame_header import FrameHeader, remaining_budget_ms


def test_budget_left_counts_time_here_and_time_waited_in_the_broker() -> None:
    header = FrameHeader(
        kind="work", request="r", submitter="laptop", deployment="cats", generation=3, budget_ms=5000.0
    )
    assert remaining_budget_ms(header, spent_ms=1000) == 4000
    assert remaining_budget_ms(header, spent_ms=1000, expiry_s=2) == 1000
    assert remaining_budget_ms(header, spent_ms=9000) == 0
