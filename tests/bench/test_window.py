import pytest

from bench.window import LEAST_SETTLE_S, MOST_SETTLE_S, NothingAnsweredError, Window, settle_s, steady_rps
from schemas.plan import Plan, Prediction, Route, Stage


def plan(*routes: tuple[int, float]) -> Plan:
    """Whole copies on devices of their own: (window, predicted rps) of each."""
    return Plan(
        deployment="d", generation=1, model="m", card_sha="0" * 64, objective="throughput", policy="exact",
        routes=tuple(
            Route(
                stages=(Stage(device=f"d{number}", first=0, last=1),), window=window,
                predicted=Prediction(latency_ms=1.0, throughput_rps=rps, energy_j=0.0),
            )
            for number, (window, rps) in enumerate(routes)
        ),
    )  # fmt: skip


def test_a_steady_stream_shows_its_rate_wherever_the_window_falls():
    arrivals = [0.1 * number for number in range(100)]
    for begin in (2.0, 2.03, 2.0999):
        assert steady_rps(arrivals, Window(begin, begin + 3.3)) == pytest.approx(10.0)


def test_neither_the_filling_of_the_line_nor_its_last_requests_count():
    filling, tail = [0.9, 0.95], [9.0, 11.0, 13.0]
    steady = [1.0 + 0.25 * number for number in range(29)]
    assert steady_rps([*filling, *steady, *tail], Window(2.0, 7.9)) == pytest.approx(4.0)


def test_a_pause_inside_the_window_counts_in_full():
    arrivals = [0.0, 1.0, 2.0, 3.0, 9.0, 10.0]
    assert steady_rps(arrivals, Window(0.5, 9.5)) == pytest.approx(4 / 9)


@pytest.mark.parametrize("paused", [(1.0, 3.0), (7.0, 9.0)])
def test_a_pause_across_either_end_counts_too(paused):
    arrivals = [0.1 * number for number in range(100) if not paused[0] <= 0.1 * number < paused[1]]
    assert steady_rps(arrivals, Window(2.0, 8.0)) < 9.0


@pytest.mark.parametrize("begin", [5.0, 5.3, 5.59, 6.1])
@pytest.mark.parametrize("seconds", [2.5, 3.1, 5.0])
def test_answers_that_come_in_bursts_show_their_rate_as_well(begin, seconds):
    arrivals = [1.2 * number + 0.002 * place for number in range(20) for place in range(6)]
    assert steady_rps(arrivals, Window(begin, begin + seconds)) == pytest.approx(5.0)


def test_one_answer_on_each_side_is_a_slow_rate():
    assert steady_rps([1.0, 5.0], Window(2.0, 4.0)) == pytest.approx(0.25)


def test_answers_may_come_in_any_order():
    assert steady_rps([3.0, 1.0, 2.0], Window(0.5, 2.5)) == pytest.approx(1.0)


def test_one_answer_is_no_rate():
    with pytest.raises(NothingAnsweredError, match="measure for longer"):
        steady_rps([1.0], Window(0.0, 2.0))


def test_a_window_is_half_open():
    assert Window(1.0, 2.0).holds(1.0)
    assert not Window(1.0, 2.0).holds(2.0)


def test_the_clock_starts_after_the_slowest_route_has_filled_its_window():
    assert settle_s(plan((2, 100.0), (4, 2.0))) == pytest.approx(2.5)


def test_settling_takes_at_least_a_moment_and_never_for_ever():
    assert settle_s(plan((2, 1000.0))) == LEAST_SETTLE_S
    assert settle_s(plan((64, 0.01))) == MOST_SETTLE_S
