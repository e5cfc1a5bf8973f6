"""A request is given up for what is wrong with it, never for what is wrong with the line."""

from __future__ import annotations

import pytest

from stageline.journal.retrying import Pace, pause_s

PACE = Pace(tries=3, first_pause_s=1.0, longest_pause_s=8.0)


@pytest.mark.parametrize("reason", ["bad-input", "too-large"])
def test_what_no_other_time_would_mend_fails_at_once(reason: str) -> None:
    assert pause_s(PACE, reason, sent=0, tries=0, failures=0) is None


@pytest.mark.parametrize("reason", ["no-plan", "deadline", "no-answer", "client-failed", "not-allowed"])
def test_what_never_went_out_is_tried_for_ever(reason: str) -> None:
    assert pause_s(PACE, reason, sent=0, tries=99, failures=99) == 8.0


@pytest.mark.parametrize("reason", ["stage-failed", "no-answer", "deadline", "no-plan"])
def test_what_went_out_is_tried_so_often_and_no_more(reason: str) -> None:
    assert [pause_s(PACE, reason, sent=2, tries=done, failures=done) for done in range(3)] == [1.0, 2.0, None]
