"""What fits, what does not, and what is said about it."""

import pytest

from services.worker.assignments import Assignment, Slice, StageKey
from services.worker.following import Held
from services.worker.memory import MemoryRefusedError, check_fit, default_budget_bytes, for_measuring_bytes, lasting

A, B, C = (Slice("a" * 64, first, first + 2) for first in (0, 2, 4))
MB = 1_000_000


def held(deployment: str, generation: int, piece: Slice, state: str = "ready", stage: str = "r0s0") -> Held:
    key = StageKey(deployment, generation, stage)
    return Held(Assignment(key, "net", piece, 0, "fp32", None, None), state)  # type: ignore[arg-type]


def by_key(*stages: Held) -> dict[StageKey, Held]:
    return {one.assignment.key: one for one in stages}


def test_the_budget_is_shared_with_what_stays_not_with_what_is_being_replaced() -> None:
    newcomer = held("cats", 2, B, "loading")
    stages = by_key(held("cats", 1, A), held("dogs", 7, C), newcomer)
    assert lasting(stages, newcomer.assignment.key) == {C}


def test_draining_failed_and_superseded_stages_of_others_do_not_count() -> None:
    newcomer = held("cats", 2, B, "loading")
    stages = by_key(held("dogs", 7, C, "draining"), held("dogs", 8, A), held("owls", 1, C, "failed"), newcomer)
    assert lasting(stages, newcomer.assignment.key) == {A}


def test_a_slice_that_is_held_already_is_not_counted_twice() -> None:
    check_fit(A, 60 * MB, {A: 60 * MB}, budget_bytes=100 * MB, free_bytes=100 * MB)


def test_over_the_budget_says_need_budget_and_what_is_taken() -> None:
    with pytest.raises(MemoryRefusedError, match=r"\[0:2\) need 60.0 MB.*gives 100.0 MB.*other stages take 50.0 MB"):
        check_fit(A, 60 * MB, {B: 50 * MB}, budget_bytes=100 * MB, free_bytes=10**10)


def test_more_than_is_free_says_so_whatever_the_budget() -> None:
    with pytest.raises(MemoryRefusedError, match=r"need 60.0 MB, only 20.0 MB are free"):
        check_fit(A, 60 * MB, {}, budget_bytes=100 * MB, free_bytes=20 * MB)


def test_two_generations_fit_the_default_budget_side_by_side() -> None:
    assert 2 * default_budget_bytes(1000 * MB) < 1000 * MB


def test_measuring_a_model_takes_what_stages_leave_of_the_budget() -> None:
    assert for_measuring_bytes(200 * MB, held_bytes=80 * MB, free_bytes=1000 * MB) == 120 * MB
    assert for_measuring_bytes(200 * MB, held_bytes=300 * MB, free_bytes=1000 * MB) == 0


def test_a_budget_beyond_what_a_device_has_is_not_taken_at_its_word_when_a_model_is_measured() -> None:
    # 700 MB lent by a device of 512 MB: blocks of 484 MB were built together there, and the kernel killed the worker.
    assert for_measuring_bytes(700 * MB, held_bytes=0, free_bytes=400 * MB) == 300 * MB
