"""Which places get an exit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from models.exits.choosing import BadPlacesError, choose_places, saving


@dataclass(frozen=True)
class At:
    block: int
    macs: int


PLACES = [At(2, 100), At(4, 250), At(5, 300), At(7, 520), At(9, 760), At(12, 900)]


def test_named_blocks_get_an_exit_each_in_their_order() -> None:
    assert choose_places("7, 2", PLACES, 1000) == (0, 3)
    assert choose_places("12", PLACES, 1000) == (5,)


def test_exits_are_spread_evenly_over_the_work() -> None:
    assert choose_places("auto:1", PLACES, 1000) == (3,)
    assert choose_places("auto", PLACES, 1000) == (1, 3, 4)
    assert choose_places("auto:3", PLACES, 1000) == choose_places("AUTO", PLACES, 1000)


def test_a_place_with_less_than_half_a_hundredth_of_the_work_behind_it_saves_nothing() -> None:
    assert saving([*PLACES, At(13, 995), At(14, 996), At(15, 1000)], 1000) == (*PLACES, At(13, 995))


@pytest.mark.parametrize("text", ["3", "2,3", "0", "13"])
def test_a_block_behind_which_no_exit_can_stand_is_told_with_those_that_can(text: str) -> None:
    with pytest.raises(BadPlacesError, match=r"no legal cut .* 2, 4, 5, 7, 9, 12"):
        choose_places(text, PLACES, 1000)


@pytest.mark.parametrize("text", ["", "two", "1.5", "-2", "auto:0", "auto:x", "auto:99", "2,,4", "²"])
def test_text_that_names_no_places_is_told_with_its_form(text: str) -> None:
    with pytest.raises(BadPlacesError, match="write the numbers of blocks"):
        choose_places(text, PLACES, 1000)


def test_a_network_without_a_place_says_why() -> None:
    with pytest.raises(BadPlacesError, match="no place for an exit"):
        choose_places("auto", [], 1000)
