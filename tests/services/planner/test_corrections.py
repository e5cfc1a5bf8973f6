"""What stages really take, learned per device and model."""

from __future__ import annotations

import random

import pytest

from services.planner.corrections import BELIEVED_S, FACTOR_MAX, FACTOR_MIN, Corrections

SHA = "a" * 64


def learned(ratio: float, *, count: int = 30, start: Corrections | None = None, first_s: float = 0.0) -> Corrections:
    corrections = start or Corrections()
    for second in range(count):
        corrections = corrections.observe("pi", "net", SHA, ratio=ratio, frames=20, now_s=first_s + second)
    return corrections


def test_nothing_known_corrects_nothing() -> None:
    assert Corrections().factor("pi", "net", SHA, now_s=0.0) == 1.0


def test_the_first_report_counts_in_full_and_noise_is_averaged() -> None:
    assert learned(1.3, count=1).factor("pi", "net", SHA, now_s=0.0) == pytest.approx(1.3)
    draw = random.Random(1)
    noisy = Corrections()
    for second in range(120):
        noisy = noisy.observe("pi", "net", SHA, ratio=1.2 * draw.gauss(1.0, 0.15), frames=20, now_s=second)
    assert noisy.factor("pi", "net", SHA, now_s=120) == pytest.approx(1.2, rel=0.06)


def test_twice_as_slow_is_noticed_within_seconds() -> None:
    after = learned(2.0, count=5, start=learned(1.0), first_s=30.0)
    assert after.factor("pi", "net", SHA, now_s=35.0) > 1.6


@pytest.mark.parametrize(("ratio", "factor"), [(1000.0, FACTOR_MAX), (0.001, FACTOR_MIN)])
def test_it_is_kept_within_bounds(ratio: float, factor: float) -> None:
    assert learned(ratio).factor("pi", "net", SHA, now_s=30.0) == pytest.approx(factor)


@pytest.mark.parametrize(("ratio", "frames"), [(0, 1), (1, 0), (float("inf"), 1), (float("nan"), 1)])
def test_reports_that_say_nothing_change_nothing(ratio: float, frames: int) -> None:
    before = learned(1.5)
    assert before.observe("pi", "net", SHA, ratio=ratio, frames=frames, now_s=99.0) is before


def test_devices_models_and_versions_are_learned_apart() -> None:
    corrections = learned(1.5)
    assert corrections.factor("pi", "other", SHA, now_s=0) == 1.0
    assert corrections.factor("pi", "net", "b" * 64, now_s=0) == 1.0


def test_it_is_forgotten_with_the_device_or_the_profile() -> None:
    corrections = learned(1.5)
    assert corrections.forget("pi").factor("pi", "net", SHA, now_s=0) == 1.0
    assert corrections.forget("pi", "net").factor("pi", "net", SHA, now_s=0) == 1.0
    assert corrections.forget("pi", "other") is corrections
    assert corrections.forget("nano") is corrections


def test_a_device_that_is_no_longer_used_gets_another_chance_in_the_end() -> None:
    corrections = learned(2.0, count=30)
    assert corrections.factor("pi", "net", SHA, now_s=600.0) == pytest.approx(2.0)
    assert corrections.factor("pi", "net", SHA, now_s=29 + 2 * BELIEVED_S) == pytest.approx(2**0.5)
    assert corrections.factor("pi", "net", SHA, now_s=29 + 20 * BELIEVED_S) == pytest.approx(1.0, abs=0.01)


def test_what_was_off_from_the_beginning_is_expected_of_devices_nobody_has_tried() -> None:
    assert learned(1.5, count=1).factor("nano", "net", SHA, now_s=0.0) == pytest.approx(1.5)
    assert learned(1.5).factor("nano", "net", SHA, now_s=30.0) == pytest.approx(1.5)
    assert learned(1.5).factor("nano", "other", SHA, now_s=30.0) == 1.0


def test_what_changes_later_is_the_devices_own_affair() -> None:
    slowed = learned(2.0, start=learned(1.0), first_s=30.0)
    assert slowed.factor("pi", "net", SHA, now_s=60.0) == pytest.approx(2.0, rel=0.05)
    assert slowed.factor("nano", "net", SHA, now_s=60.0) == pytest.approx(1.0)


def test_reports_of_a_time_that_was_misjudged_can_be_undone() -> None:
    poisoned = learned(4.0, count=2, start=learned(1.1), first_s=30.0)
    undone = poisoned.undone("pi", since_s=29.5)
    assert undone.factor("pi", "net", SHA, now_s=32.0) == pytest.approx(1.1)
    assert poisoned.undone("nano", since_s=29.5) == poisoned
    assert poisoned.undone("pi", since_s=31.0) == poisoned
    assert learned(4.0, count=1, first_s=30.0).undone("pi", since_s=29.5) == Corrections()


def test_stages_that_report_together_are_undone_together() -> None:
    poisoned = learned(1.1)
    for second in (30.0, 31.0):
        for _ in range(9):
            poisoned = poisoned.observe("pi", "net", SHA, ratio=4.0, frames=20, now_s=second)
    assert poisoned.undone("pi", since_s=29.5).factor("pi", "net", SHA, now_s=32.0) == pytest.approx(1.1)
