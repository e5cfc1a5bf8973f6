"""Bands of a request are one frame once all are there; what never gets complete is bounded and let go."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.frame import Frame, FrameError, encode_frame, open_frame
from schemas.frame_header import FrameHeader, StageTrace
from services.worker.joining import LONGEST_S, Joiner

ROWS = ((0, 3), (3, 4), (4, 9))
WHOLE = np.arange(1 * 2 * 9 * 4, dtype=np.float32).reshape(1, 2, 9, 4)


def band(
    number: int,
    *,
    request: str = "q1",
    attempt: int = 0,
    rows: int | None = None,
    bands: int = 3,
    submitter: str = "laptop",
) -> Frame:
    """Band `number`, which the device of that number made."""
    trace = StageTrace(
        device=f"d{number}", first=0, last=2, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1, bytes_out=1
    )
    header = FrameHeader(
        kind="work", request=request, submitter=submitter, deployment="cats", generation=3, attempt=attempt,
        budget_ms=1000.0, trace=(trace,), band=number, bands=bands,
    )  # fmt: skip
    first, last = ROWS[number] if rows is None else (0, rows)
    return open_frame(encode_frame(header, {"h": WHOLE[:, :, first:last]}))


def joiner(**limits: int) -> tuple[Joiner, Counter[str]]:
    dropped: Counter[str] = Counter()
    return Joiner(dropped, **limits), dropped


@given(st.permutations(range(3)))
def test_in_whatever_order_they_come_bands_are_joined_from_top_to_bottom(order: list[int]) -> None:
    gathering, dropped = joiner()
    found = [gathering.take(band(number), now_s=float(at), budget_ms=5000.0) for at, number in enumerate(order)]
    assert found[:2] == [None, None]
    joined = found[2]
    assert joined is not None
    np.testing.assert_array_equal(joined.arrays()["h"], WHOLE)
    assert [trace.device for trace in joined.header.trace] == ["d0", "d1", "d2"]
    assert (joined.header.band, joined.header.bands) == (0, 0)
    assert sum(map(len, joined.data)) == WHOLE.nbytes
    # The first of them came two seconds ago, with five to go.
    assert joined.header.budget_ms == pytest.approx(3000.0)
    assert (gathering.waiting, gathering.nbytes, dropped.total()) == (0, 0, 0)


def test_a_band_that_comes_twice_counts_once() -> None:
    gathering, dropped = joiner()
    for number in (0, 0, 1, 0, 1):
        assert gathering.take(band(number), now_s=0.0, budget_ms=1e4) is None
    assert dropped == {"band-twice": 3}
    assert gathering.take(band(2), now_s=0.0, budget_ms=1e4) is not None


def test_bands_of_two_attempts_never_mix_and_the_later_one_counts() -> None:
    gathering, dropped = joiner()
    for number in (0, 1):
        gathering.take(band(number), now_s=0.0, budget_ms=1e4)
    assert gathering.take(band(2, attempt=1), now_s=0.0, budget_ms=1e4) is None
    assert gathering.take(band(2), now_s=0.0, budget_ms=1e4) is None  # the last of the first attempt, too late
    assert dropped == {"band-superseded": 3}
    assert gathering.waiting == 1
    gathering.take(band(0, attempt=1), now_s=0.0, budget_ms=1e4)
    joined = gathering.take(band(1, attempt=1), now_s=0.0, budget_ms=1e4)
    assert joined is not None
    assert joined.header.attempt == 1


def test_bands_of_two_requests_wait_side_by_side() -> None:
    gathering, _ = joiner()
    for request in ("q1", "q2"):
        gathering.take(band(0, request=request), now_s=0.0, budget_ms=1e4)
        gathering.take(band(1, request=request), now_s=0.0, budget_ms=1e4)
    assert gathering.waiting == 2
    for request in ("q2", "q1"):
        joined = gathering.take(band(2, request=request), now_s=0.0, budget_ms=1e4)
        assert joined is not None
        assert joined.header.request == request


def test_what_is_past_its_deadline_is_let_go() -> None:
    gathering, dropped = joiner()
    gathering.take(band(0), now_s=0.0, budget_ms=1000.0)
    gathering.take(band(1), now_s=0.5, budget_ms=9000.0)
    gathering.expire(0.9)
    assert gathering.waiting == 1
    gathering.expire(1.0)
    assert (gathering.waiting, gathering.nbytes) == (0, 0)
    assert dropped == {"band-expired": 2}


def test_nothing_waits_for_ever_whatever_its_deadline() -> None:
    gathering, dropped = joiner()
    gathering.take(band(0), now_s=0.0, budget_ms=1e9)
    gathering.take(band(0, request="q2"), now_s=LONGEST_S, budget_ms=1e9)
    assert dropped == {"band-expired": 1}
    assert gathering.waiting == 1


def test_of_too_many_incomplete_requests_the_latest_are_refused_with_all_of_their_bands() -> None:
    gathering, dropped = joiner(most_sets=3)
    for number in range(10):
        gathering.take(band(0, request=f"q{number}"), now_s=float(number), budget_ms=1e6)
    assert gathering.waiting == 3
    assert dropped == {"band-crowded-out": 7}
    assert gathering.take(band(1, request="q0"), now_s=10.0, budget_ms=1e6) is None
    assert gathering.take(band(2, request="q0"), now_s=10.0, budget_ms=1e6) is not None
    # There is room again, but not for what can never get complete; its next attempt can.
    assert gathering.take(band(1, request="q9"), now_s=11.0, budget_ms=1e6) is None
    assert (gathering.waiting, dropped["band-crowded-out"]) == (2, 8)
    found = [gathering.take(band(one, request="q9", attempt=1), now_s=12.0, budget_ms=1e6) for one in range(3)]
    assert found[2] is not None


@given(
    submitters=st.integers(1, 40),
    each=st.integers(1, 8),
    lag=st.integers(0, 400),
    bands=st.integers(2, 3),
    limits=st.sampled_from([(8, 1 << 20), (64, 8 * band(2).nbytes)]),
)
def test_however_many_submitters_send_in_turn_as_many_requests_as_there_is_room_for_are_joined(
    submitters: int, each: int, lag: int, bands: int, limits: tuple[int, int]
) -> None:
    """Each device hands on its bands in the order in which they were sent, some later than others."""
    most_sets, most_bytes = limits
    gathering, dropped = joiner(most_sets=most_sets, most_bytes=most_bytes)
    requests = [(f"q{turn}", f"s{one}") for turn in range(each) for one in range(submitters)]
    events = sorted((place + lag * number, number, place) for place in range(len(requests)) for number in range(bands))
    whole = 0
    for _, number, place in events:
        request, submitter = requests[place]
        one = band(number, request=request, submitter=submitter, bands=bands)
        whole += gathering.take(one, now_s=0.0, budget_ms=1e6) is not None
        assert gathering.waiting <= most_sets
        assert gathering.nbytes <= most_bytes
    # Of three bands two wait for the third, where bytes are short.
    assert whole >= min(len(requests), 8 if bands == 2 or most_sets == 8 else 4)
    assert gathering.waiting == 0, "a set waits for a band that was dropped"
    assert whole * bands + dropped.total() == len(events)


@pytest.mark.parametrize("ahead", [64, 65, 100, 1000])
def test_a_band_far_ahead_of_the_others_does_not_keep_requests_from_being_joined(ahead: int) -> None:
    gathering, dropped = joiner()
    joined = [
        gathering.take(band(number, request=f"q{one}", submitter=f"s{one}", bands=2), now_s=0.0, budget_ms=1e6)
        for number in range(2)
        for one in range(ahead)
    ]
    assert sum(one is not None for one in joined) == 64
    assert (gathering.waiting, dropped["band-crowded-out"]) == (0, 2 * (ahead - 64))


def test_whoever_fills_it_with_halves_keeps_nobody_else_out() -> None:
    gathering, _ = joiner(most_sets=8)
    for number in range(100):
        gathering.take(band(0, request=f"half-{number}", submitter="filler", bands=2), now_s=0.0, budget_ms=1e6)
    for number in range(20):
        for one in ("a", "b"):
            gathering.take(band(0, request=f"{one}{number}", submitter="laptop", bands=2), now_s=1.0, budget_ms=1e6)
            gathering.take(
                band(0, request=f"more-{one}{number}", submitter="filler", bands=2), now_s=1.0, budget_ms=1e6
            )
        for one in ("a", "b"):
            whole = band(1, request=f"{one}{number}", submitter="laptop", bands=2)
            assert gathering.take(whole, now_s=1.0, budget_ms=1e6) is not None
    assert gathering.waiting <= 8
    assert gathering.take(band(1, request="half-0", submitter="filler", bands=2), now_s=1.0, budget_ms=1e6) is not None


def test_of_whom_lost_a_band_for_want_of_room_not_everyone_is_remembered() -> None:
    gathering, _ = joiner(most_sets=1)
    for number in range(5000):
        gathering.take(band(0, request=f"q{number}"), now_s=0.0, budget_ms=1e6)
    assert len(gathering._crowded_out) <= 1024


def test_the_bytes_that_wait_are_bounded_but_one_request_may_always_get_complete() -> None:
    one = band(0).nbytes
    gathering, dropped = joiner(most_bytes=2 * one)
    for number in range(5):
        gathering.take(band(0, request=f"q{number}"), now_s=0.0, budget_ms=1e6)
        assert gathering.nbytes <= 2 * one
    assert dropped == {"band-crowded-out": 3}
    small, _ = joiner(most_bytes=1)
    assert small.take(band(0), now_s=0.0, budget_ms=1e6) is None
    assert small.take(band(1), now_s=0.0, budget_ms=1e6) is None
    assert small.take(band(2), now_s=0.0, budget_ms=1e6) is not None


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 2), st.integers(0, 3), st.floats(0, 1e5)), min_size=1, max_size=80
    )
)
def test_whatever_comes_the_bounds_hold(frames: list[tuple[int, int, int, float]]) -> None:
    gathering, _ = joiner(most_sets=4, most_bytes=2000)
    for at, (request, number, attempt, budget_ms) in enumerate(frames):
        one = band(number, request=f"q{request}", attempt=attempt)
        joined = gathering.take(one, now_s=float(at), budget_ms=budget_ms)
        assert gathering.waiting <= 4
        assert gathering.nbytes <= max(2000, 3 * one.nbytes)
        if joined is not None:
            assert {frame.header.attempt for frame in joined.bands} == {attempt}
            np.testing.assert_array_equal(joined.arrays()["h"], WHOLE)


def test_bands_that_do_not_fit_together_are_a_bad_frame() -> None:
    gathering, _ = joiner()
    other = open_frame(encode_frame(band(1).header, {"h": np.zeros((1, 3, 2, 4), np.float32)}))
    gathering.take(band(0), now_s=0.0, budget_ms=1e4)
    gathering.take(other, now_s=0.0, budget_ms=1e4)
    joined = gathering.take(band(2), now_s=0.0, budget_ms=1e4)
    assert joined is not None
    with pytest.raises(FrameError, match="do not fit together"):
        joined.arrays()
