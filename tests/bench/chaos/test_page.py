"""The measured table goes into its place in the page, and nothing else of the page changes."""

from __future__ import annotations

import pytest

from bench.chaos.page import BEGIN, END, PAGE, with_table

DOCUMENT = {
    "meta": {"machine": "two cores", "commit": "abc", "mode": "full"},
    "scenarios": [
        {
            "scenario": "worker-hangs", "must_hold": "planned around", "held": True, "submitted": 300, "answered": 299,
            "failed_with_reason": 1, "lost": 0, "duplicates_visible": 0, "wrong": 0, "detect_ms": 2345.6,
            "replan_ms": None, "first_answer_ms": 2500.0, "longest_silence_ms": 12.3, "silence_before_ms": 50.0,
            "took_s": 9.0, "broker_grows_mb": 3.25, "complaints": ["too slow"], "limits": {}, "remarks": [],
            "audit": {},
        },
        {"scenario": "network-cut", "must_hold": "it rejoins", "held": None, "left_out": "links are not emulated"},
    ],
}  # fmt: skip


def test_the_table_takes_the_place_of_the_one_before() -> None:
    page = f"above\n{BEGIN}\nyesteryear\n{END}\nbelow\n"
    once = with_table(page, DOCUMENT)
    assert once is not None
    assert once.startswith("above\n")
    assert once.endswith("\nbelow\n")
    assert "yesteryear" not in once
    row = "| worker-hangs | planned around | 300 | 299 | 1 | 0 | 0 | 0 | 2346 | - | 2500 | 12 | yes |"
    assert row in once
    assert "| network-cut | it rejoins |" in once
    assert "- worker-hangs: broker_grows_mb 3.2; too slow" in once
    assert "- network-cut: links are not emulated" in once
    assert "left out" in once
    assert with_table(once, DOCUMENT) == once


def test_the_page_of_the_documentation_has_a_place_for_it() -> None:
    assert with_table(PAGE.read_text(encoding="utf-8"), DOCUMENT) is not None


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_a_place_is_left_alone(page: str) -> None:
    assert with_table(page, DOCUMENT) is None
