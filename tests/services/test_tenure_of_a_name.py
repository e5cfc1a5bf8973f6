"""Who stays when two speak under one name: whoever was there undisturbed, not whoever says so."""

from __future__ import annotations

import pytest

from schemas.device import DeviceStatus
from services.tenure import NEW_S, Standing, Tenure, verdict


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_name_is_settled_after_a_while_undisturbed_and_uncertain_again_after_being_away() -> None:
    clock = Clock()
    tenure = Tenure(clock)
    assert tenure.standing == "new"
    clock.now += NEW_S + 1
    assert tenure.standing == "settled"
    await tenure.is_back()
    assert tenure.standing == "back"
    clock.now += NEW_S + 1
    assert tenure.standing == "settled"


def test_one_word_is_doubted_and_a_second_of_the_same_life_is_not() -> None:
    tenure = Tenure()
    assert tenure.doubts("a")
    assert tenure.doubts("b")
    assert not tenure.doubts("b")


@pytest.mark.parametrize(
    ("standing", "theirs", "expected"),
    [
        ("new", "a", "yield"),
        ("new", "z", "announce"),
        ("back", "a", "yield"),
        ("back", "z", "yield"),
        ("settled", "a", "announce"),
        ("settled", "z", "announce"),
        ("settled", "m", "ours"),
    ],
)
def test_who_gives_way(standing: Standing, theirs: str, expected: str) -> None:
    state = DeviceStatus(device="pi4", boot_id=theirs, online=True)
    assert verdict(state, retained=False, boot_id="m", standing=standing) == expected


@pytest.mark.parametrize("standing", ["new", "back", "settled"])
def test_what_is_retained_removed_or_offline_is_only_overwritten(standing: Standing) -> None:
    there = DeviceStatus(device="pi4", boot_id="a", online=True)
    gone = DeviceStatus(device="pi4", boot_id="a", online=False)
    assert verdict(there, retained=True, boot_id="m", standing=standing) == "announce"
    assert verdict(gone, retained=False, boot_id="m", standing=standing) == "announce"
    assert verdict(None, retained=False, boot_id="m", standing=standing) == "announce"
