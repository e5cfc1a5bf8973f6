"""What a record says in figures."""

import pytest
from made_up_plans import made_up_plan

from bench.chaos.figures import duplicates, figures_of
from bench.chaos.record import Record, Shown
from schemas.deployment import Decision
from schemas.plan import Plan


def plan(generation: int) -> Plan:
    return made_up_plan("ant[0:2)", deployment="line", generation=generation)


def decision(generation: int, state: str) -> Decision:
    return Decision(deployment="line", generation=generation, requested=0, state=state)


def answer(index: int, at_s: float, *, generation: int = 1, right: bool = True, request: str = "") -> Shown:
    return Shown(index, at_s, request or f"r{index}", generation, right=right)


def test_a_request_without_any_result_is_lost_and_one_with_an_error_is_not() -> None:
    record = Record(submitted={0: 0.0, 1: 0.1, 2: 0.2})
    record.shown = [answer(0, 0.3), Shown(1, 0.4, reason="deadline", detail="too late")]
    figures = figures_of(record)
    assert (figures.submitted, figures.answered, figures.failed_with_reason, figures.lost) == (3, 1, 1, 1)
    assert figures.longest_silence_ms is None


def test_a_second_result_is_counted_whether_it_is_of_the_same_request_or_bears_its_id() -> None:
    assert duplicates([answer(0, 1.0), answer(1, 1.1)]) == 0
    assert duplicates([answer(0, 1.0), answer(0, 1.1)]) == 1
    assert duplicates([answer(0, 1.0), answer(1, 1.1, request="r0")]) == 1
    # An error has no id; an answer after it is one result too many all the same.
    assert duplicates([Shown(0, 1.0, reason="deadline"), Shown(1, 1.0, reason="deadline")]) == 0
    assert duplicates([Shown(0, 1.0, reason="deadline"), answer(0, 1.2)]) == 1


def test_an_answer_that_differs_is_wrong_and_still_answered() -> None:
    record = Record(submitted={0: 0.0}, shown=[answer(0, 0.1, right=False)])
    assert (figures_of(record).answered, figures_of(record).wrong) == (1, 1)


def test_times_are_counted_from_the_fault_to_the_first_word_plan_and_answer_beyond_it() -> None:
    record = Record(submitted={0: 0.0, 1: 0.5, 2: 2.0})
    record.plans = [(0.0, plan(3)), (10.6, plan(4)), (14.0, plan(5))]
    record.announced = [(0.0, plan(3)), (10.2, plan(4))]
    record.decisions = [(10.1, decision(3, "serving")), (10.3, decision(4, "preparing"))]
    record.struck_s, record.load_ended_s = 10.0, 12.0
    record.shown = [answer(0, 9.9, generation=3), answer(1, 10.4, generation=3), answer(2, 11.0, generation=4)]
    figures = figures_of(record)
    assert figures.detect_ms == pytest.approx(200)
    assert figures.replan_ms == pytest.approx(600)
    assert figures.first_answer_ms == pytest.approx(1000)
    # From the last answer to the end of the load.
    assert figures.longest_silence_ms == pytest.approx(1000)
    assert figures.silence_before_ms == 0, "one answer is not late for any other"


def test_silence_counts_from_the_last_answer_before_the_fault_even_if_none_follows() -> None:
    record = Record(submitted={0: 0.0}, shown=[answer(0, 9.0)], struck_s=10.0, load_ended_s=13.0)
    figures = figures_of(record)
    assert figures.longest_silence_ms == pytest.approx(4000)
    assert (figures.detect_ms, figures.replan_ms, figures.first_answer_ms) == (None, None, None)


def test_how_haltingly_the_line_answered_just_before_the_fault_is_told() -> None:
    record = Record(shown=[answer(n, at_s) for n, at_s in enumerate([1.0, 8.5, 8.7, 9.6, 9.9, 12.0])], struck_s=10.0)
    assert figures_of(record).silence_before_ms == pytest.approx(900)
    assert figures_of(Record()).silence_before_ms is None


def test_a_decision_that_there_is_no_plan_is_a_word_too() -> None:
    record = Record(plans=[(0.0, plan(1))], decisions=[(5.3, decision(0, "failed"))], struck_s=5.0)
    assert figures_of(record).detect_ms == pytest.approx(300)
