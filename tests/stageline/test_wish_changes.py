"""One thing of a wish changes, and nothing else; what cannot be meant is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import InvalidNameError
from schemas.deployment import Deployment, Pin
from stageline.wish_changes import accuracy_kept, excluding, exits_set, including, pinning, unpinning
from stageline.wishes import BadWishError

WISH = Deployment(deployment="d", model="m", exclude=("a",), pins=(Pin(device="cam", first=0, last=3),), weight=2.0)
DEVICES = st.lists(st.sampled_from(["b", "c", "d"]), min_size=1, unique=True)


@given(DEVICES)
def test_excluding_and_including_again_changes_nothing(devices: list[str]) -> None:
    assert including(excluding(WISH, devices), devices) == WISH


@given(DEVICES)
def test_pinning_and_unpinning_again_changes_nothing(devices: list[str]) -> None:
    pins = [f"{device}=3:4" for device in devices]
    pinned = pinning(WISH, pins)
    assert len(pinned.pins) == 1 + len(pins)
    assert unpinning(pinned, pins) == unpinning(pinned, devices) == WISH


def test_what_is_so_already_stays_once() -> None:
    assert excluding(WISH, ["a", "a"]) == WISH
    assert pinning(WISH, ["cam=0:3", "cam=0:3"]) == WISH
    assert excluding(WISH, ["b", "b"]).exclude == ("a", "b")


def test_what_is_not_there_cannot_be_taken_back() -> None:
    with pytest.raises(BadWishError, match="does not exclude 'b': it excludes a"):
        including(WISH, ["b"])
    with pytest.raises(BadWishError, match="no pin cam=0:4: it has cam=0:3"):
        unpinning(WISH, ["cam=0:4"])
    with pytest.raises(BadWishError, match="no pin pi4"):
        unpinning(WISH, ["pi4"])


def test_names_and_pins_are_checked() -> None:
    with pytest.raises(InvalidNameError):
        excluding(WISH, ["a b"])
    with pytest.raises(BadWishError, match="pin cam: write DEVICE=FIRST:LAST"):
        pinning(WISH, ["cam"])


def test_exits_are_set_closed_and_calibrated_again() -> None:
    loose = exits_set(WISH, ["exit1=0.5", "exit2=0.7"])
    assert loose.thresholds == {"exit1": 0.5, "exit2": 0.7}
    closed = exits_set(loose, [], close=["exit2"])
    assert (closed.thresholds, closed.closed_exits) == ({"exit1": 0.5}, ("exit2",))
    assert exits_set(exits_set(closed, ["exit2=0.9"]), [], usual=["exit1", "exit2"]) == WISH


def test_thresholds_by_hand_and_an_accuracy_take_each_others_place() -> None:
    accurate = accuracy_kept(exits_set(WISH, ["exit1=0.5"]), 0.9)
    assert (accurate.thresholds, accurate.accuracy_min) == ({}, 0.9)
    assert exits_set(accurate, [], close=["exit2"]).accuracy_min == 0.9
    assert exits_set(accurate, ["exit1=0.5"]).accuracy_min is None


def test_thresholds_by_hand_take_the_place_of_a_latency_bound_that_chose_them() -> None:
    bound = WISH.model_copy(update={"latency_bound_ms": 20.0})
    assert exits_set(bound, ["exit1=0.5"]).latency_bound_ms is None
    assert exits_set(bound, [], close=["exit1"]).latency_bound_ms == 20.0
    full = bound.model_copy(update={"objective": "throughput"})
    assert exits_set(full, ["exit1=0.5"]).latency_bound_ms == 20.0


@pytest.mark.parametrize("text", ["exit1", "exit1=lots", "exit1=1.5", "exit1=-0.1", "exit1=nan", "a b=0.5"])
def test_a_threshold_is_a_share_of_an_exit(text: str) -> None:
    with pytest.raises(BadWishError, match=r"^threshold "):
        exits_set(WISH, [text])
    with pytest.raises(BadWishError, match="exit1 is named twice"):
        exits_set(WISH, ["exit1=0.5"], close=["exit1"])
