"""Who is heard, who is asked, who hangs: as values, with time as a number."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.planner.heartbeat import (
    ANSWER_S,
    PATIENCE,
    SILENT_S,
    STEP_MOST_S,
    TRUST_S,
    Heartbeats,
    stuck,
)

TICK_S = 0.1
WATCHED = {"pi": "b1", "nano": "b1"}


@dataclass
class Story:
    """Walks an account through time; the broker takes every question at once unless it is `deaf`."""

    beats: Heartbeats = field(default_factory=Heartbeats)
    deaf: bool = False
    questions: list[str] = field(default_factory=list)

    def wait(self, seconds: float, *speaking: str, busy: tuple[str, ...] = (), tick_s: float = TICK_S) -> None:
        for _ in range(round(seconds / tick_s)):
            for name in speaking:
                self.beats = self.beats.heard(name, "b1", wrong="")
            self.beats = self.beats.passed(tick_s, WATCHED, busy=busy)
            for name in self.beats.to_ask(busy=busy):
                self.questions.append(name)
                self.beats = self.beats.asking(name)
                if not self.deaf:
                    self.beats = self.beats.asked(name)


def test_workers_that_speak_are_never_asked() -> None:
    story = Story()
    story.wait(60.0, "pi", "nano")
    assert (story.questions, story.beats.hung) == ([], {})


def test_a_silent_worker_is_asked_once_and_then_hangs_and_others_do_not() -> None:
    story = Story()
    story.wait(SILENT_S + ANSWER_S / 2, "nano")
    assert (story.questions, story.beats.hung) == (["pi"], {})
    story.wait(ANSWER_S, "nano")
    assert list(story.beats.hung) == ["pi"]
    assert "hangs: no word for" in story.beats.hung["pi"]
    assert story.questions == ["pi"]


def test_a_hung_worker_is_noticed_in_less_than_two_and_a_half_seconds() -> None:
    story = Story()
    story.wait(5.0, "pi", "nano")
    story.wait(2.5, "nano")
    assert list(story.beats.hung) == ["pi"]


def test_one_that_answers_in_time_is_well_and_is_asked_again_later() -> None:
    story = Story()
    for _ in range(5):
        story.wait(SILENT_S + 0.2, "nano")
        story.beats = story.beats.heard("pi", "b1")
    assert (set(story.questions), len(story.questions), story.beats.hung) == ({"pi"}, 5, {})


def test_an_answer_that_overtakes_the_brokers_word_counts() -> None:
    story = Story(deaf=True)
    story.wait(SILENT_S + 0.1, "nano")
    story.beats = story.beats.heard("pi", "b1").asked("pi")
    story.wait(SILENT_S - 0.2, "nano")
    assert story.beats.hung == {}


def test_a_broker_that_takes_no_questions_accuses_nobody() -> None:
    story = Story(deaf=True)
    story.wait(60.0)
    assert story.beats.hung == {}
    story.beats = story.beats.not_asked("pi")
    assert "pi" in story.beats.to_ask()


def test_the_planners_own_standing_still_counts_for_next_to_nothing() -> None:
    story = Story()
    story.wait(2.0, "pi", "nano")
    story.beats = story.beats.passed(60.0, WATCHED)
    assert story.beats.now_s < 2.0 + 2 * STEP_MOST_S
    assert (story.beats.to_ask(), story.beats.hung) == ((), {})


def test_a_broker_that_is_away_stops_the_clock() -> None:
    story = Story()
    story.wait(1.0, "pi", "nano")
    for _ in range(600):
        story.beats = story.beats.passed(0.0, WATCHED)
    assert (story.beats.to_ask(), story.beats.hung) == ((), {})


def test_one_that_builds_or_measures_may_be_silent_for_longer_and_answers_as_soon_as_others() -> None:
    story = Story()
    story.wait(SILENT_S * PATIENCE - 0.2, "nano", busy=("pi",))
    assert (story.questions, story.beats.hung) == ([], {})
    story.wait(ANSWER_S + 0.5, "nano", busy=("pi",))
    assert list(story.beats.hung) == ["pi"]


def test_one_that_comes_back_is_believed_after_a_second_and_later_after_longer() -> None:
    story = Story()
    waits = []
    for _ in range(3):
        story.wait(3.0, "nano")
        assert "pi" in story.beats.hung
        back_s = story.beats.now_s
        while "pi" in story.beats.hung:
            story.wait(TICK_S, "pi", "nano")
        waits.append(round(story.beats.now_s - back_s, 1))
    first, second, third = waits
    assert TRUST_S <= first <= TRUST_S + 0.3
    assert 2 * TRUST_S <= second <= 2 * TRUST_S + 0.3
    assert 4 * TRUST_S <= third <= 4 * TRUST_S + 0.3


def test_one_word_and_silence_again_is_not_being_back() -> None:
    story = Story()
    story.wait(3.0, "nano")
    story.beats = story.beats.heard("pi", "b1")
    story.wait(30.0, "nano")
    assert list(story.beats.hung) == ["pi"]


def test_a_new_life_starts_with_a_clean_slate() -> None:
    story = Story()
    story.wait(3.0, "nano")
    story.beats = story.beats.heard("pi", "b0")
    assert list(story.beats.hung) == ["pi"]
    story.beats = story.beats.passed(TICK_S, {**WATCHED, "pi": "b2"})
    assert story.beats.hung == {}


def test_one_that_goes_offline_is_no_longer_watched() -> None:
    story = Story()
    story.wait(3.0, "nano")
    story.beats = story.beats.passed(TICK_S, {"nano": "b1"})
    assert story.beats.hung == {}


def test_a_worker_whose_compute_thread_is_stuck_hangs_though_it_speaks_until_it_says_that_all_is_well() -> None:
    story = Story()
    story.wait(1.0, "pi", "nano")
    story.beats = story.beats.heard("pi", "b1", wrong=stuck(3.1, 20.0))
    assert "stuck: 3.1 s" in story.beats.hung["pi"]
    for _ in range(40):
        story.beats = story.beats.heard("pi", "b1")
        story.wait(TICK_S, "nano")
    assert "pi" in story.beats.hung
    story.wait(TRUST_S + 0.3, "pi", "nano")
    assert story.beats.hung == {}


def test_a_long_step_is_not_stuck() -> None:
    assert stuck(1.9, 0.0) == ""
    assert stuck(9.0, 1000.0) == ""
    assert stuck(10.5, 1000.0) != ""


@given(st.lists(st.floats(0.05, SILENT_S - 0.1), min_size=1, max_size=60))
def test_whoever_speaks_more_often_than_the_silence_allowed_is_never_asked(pauses: list[float]) -> None:
    beats = Heartbeats().passed(0.0, WATCHED)
    for pause_s in pauses:
        left_s = pause_s
        while left_s > 0:
            step_s = min(TICK_S, left_s)
            beats = beats.passed(step_s, WATCHED)
            left_s -= step_s
            assert "pi" not in beats.to_ask()
        beats = beats.heard("pi", "b1")
