"""Spans of blocks that fit in memory."""

from __future__ import annotations

from models.fitting import groups_that_fit, parts_that_fit
from models.runtime import stage_memory_bytes
from schemas.model import ModelCard


def test_the_whole_is_measured_in_as_few_parts_as_memory_allows(tiny: ModelCard) -> None:
    blocks = len(tiny.blocks)
    whole = stage_memory_bytes(tiny, 0, blocks)
    assert parts_that_fit(tiny, whole) == [(0, blocks)]
    assert parts_that_fit(tiny, 1) == [(i, i + 1) for i in range(blocks)]
    parts = parts_that_fit(tiny, whole - 1)
    assert [first for first, _ in parts] == [0, *(last for _, last in parts)][:-1]
    assert parts[-1][1] == blocks


def test_groups_keep_order_and_hold_what_fits(tiny: ModelCard) -> None:
    spans = [(0, 1), (0, 2), (1, 2)]
    assert groups_that_fit(tiny, spans, 10**12) == [spans]
    assert groups_that_fit(tiny, spans, 1) == [[(0, 1)], [(0, 2)], [(1, 2)]]
