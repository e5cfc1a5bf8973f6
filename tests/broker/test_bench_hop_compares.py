"""The bench runs and reports what it promises; how fast it is is nobody's test."""

from __future__ import annotations

import pytest

from stageline import bench_hop


@pytest.mark.timeout(60)
async def test_the_bench_reports_both_ways_for_every_size() -> None:
    seen: list[float] = []
    figures = await bench_hop.run(pairs=2, progress=seen.append)
    assert [line["bytes"] for line in figures] == [50_000, 200_000, 800_000, 3_200_000]
    for line in figures:
        assert set(line) == {"bytes", "stageline_ms", "relay_ms", "ratio"}
        assert line["stageline_ms"] > 0
        assert line["relay_ms"] > 0
        assert line["ratio"] == pytest.approx(line["stageline_ms"] / line["relay_ms"], rel=0.05)
    assert seen[-1] == 1.0
