import pytest

from bench.statistics import NoValuesError, median, paired_ratio, spread, summary


def test_a_summary_is_the_middle_value_and_the_quartiles_around_it():
    assert summary([5, 1, 3, 2, 4]) == {"median": 3.0, "p25": 2.0, "p75": 4.0, "n": 5}


def test_one_value_is_its_own_spread():
    assert median([7.5]) == 7.5
    assert spread([7.5]) == [7.5, 7.5]


def test_an_outlier_moves_neither_median_nor_quartiles_far():
    assert summary([1, 2, 3, 4, 1e9])["median"] == 3


def test_nothing_measured_is_an_error_and_no_zero():
    with pytest.raises(NoValuesError, match="at least one measurement"):
        summary([])


def test_a_slow_spell_leaves_the_ratio_of_pairs_alone():
    # The second and third pair were measured while the machine was four times slower.
    assert paired_ratio([10, 40, 40], [5, 20, 20])["median"] == 2.0


def test_pairs_need_two_halves():
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1, 2], [1])
