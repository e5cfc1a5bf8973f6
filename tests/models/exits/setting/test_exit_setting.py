"""Exits are set as well as trying everything would set them, where that can be tried."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.exits.setting.ants import ant_colony
from models.exits.setting.beam import beam_search
from models.exits.setting.best import best_exits
from models.exits.setting.brute import brute_force
from models.exits.setting.interval import interval_exits
from models.exits.setting.layers import BadLayersError, Layers
from models.exits.setting.nested import nested_exits, nested_flops
from models.exits.setting.observed import (
    BadObservationsError,
    Observed,
    accuracy,
    expected_flops,
    left_behind,
    survival,
)
from models.exits.setting.setting import Judge, UnreachableAccuracyError

costs = st.integers(0, 20).map(float)


@st.composite
def networks(draw: st.DrawFn) -> Layers:
    count = draw(st.integers(1, 6))
    flops = draw(st.lists(costs, min_size=count, max_size=count))
    heads = draw(st.lists(costs, min_size=count, max_size=count))
    return Layers(tuple(flops), tuple(heads))


@st.composite
def observations(draw: st.DrawFn, layers: Layers) -> Observed:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 12)), len(layers))
    return Observed(rng.random(shape) < draw(st.floats(0.1, 0.9)), rng.random(shape) < draw(st.floats(0.3, 1.0)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layers, Observed]:
    layers = draw(networks())
    return layers, draw(observations(layers))


def all_settings(layers: Layers) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(range(layers.last), count) for count in range(len(layers))))


def flops_as_written(layers: Layers, observed: Observed, exits: tuple[int, ...]) -> float:
    """The definition, sample by sample and layer by layer: mu_k is a product over the open exits before k."""
    total = 0.0
    for confident in observed.confident:
        for layer in range(len(layers)):
            runs = float(np.prod([not confident[place] for place in exits if place < layer]))
            total += runs * layers.flops[layer]
            if layer in exits or layer == layers.last:
                total += runs * layers.exit_flops[layer]
    return total / len(observed.confident)


@given(networks(), st.data())
def test_nested_exits_are_the_cheapest_of_all_where_exits_are_nested(layers: Layers, data: st.DataObject) -> None:
    able = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(layers), max_size=len(layers))))
    found = nested_flops(layers, able, nested_exits(layers, able))
    assert found == pytest.approx(min(nested_flops(layers, able, exits) for exits in all_settings(layers)))


@given(networks(), st.integers(0, 6), st.data())
def test_no_more_exits_than_asked_for_and_of_those_the_cheapest(layers: Layers, most: int, data: st.DataObject) -> None:
    able = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(layers), max_size=len(layers))))
    found = nested_exits(layers, able, most)
    few = [exits for exits in all_settings(layers) if len(exits) <= most]
    assert found in few
    assert nested_flops(layers, able, found) == pytest.approx(min(nested_flops(layers, able, one) for one in few))
    observed = data.draw(observations(layers))
    least = min(expected_flops(layers, observed, exits) for exits in few)
    assert brute_force(layers, observed, 0.0, most).flops == pytest.approx(least)
    for seeds in ([()], all_settings(layers)[-1:]):
        searched = beam_search(Judge(layers, observed, 0.0, most), seeds)
        assert searched.exits in few


@given(cases())
def test_expected_flops_and_survival_are_what_their_definition_says(case: tuple[Layers, Observed]) -> None:
    layers, observed = case
    for exits in all_settings(layers)[:16]:
        assert expected_flops(layers, observed, exits) == pytest.approx(flops_as_written(layers, observed, exits))
        runs = survival(observed, exits)
        heads = sum(runs[place] * layers.exit_flops[place] for place in (*exits, layers.last))
        assert expected_flops(layers, observed, exits) == pytest.approx(runs @ np.array(layers.flops) + heads)


@given(networks(), st.integers(0, 2**32 - 1))
def test_nested_observations_cost_what_the_nested_view_says(layers: Layers, seed: int) -> None:
    depths = np.random.default_rng(seed).integers(0, len(layers), 10)
    confident = np.arange(len(layers)) >= depths[:, None]
    observed = Observed(confident, np.ones_like(confident))
    for exits in all_settings(layers):
        assert expected_flops(layers, observed, exits) == pytest.approx(nested_flops(layers, observed.able, exits))


@settings(max_examples=40)
@given(cases(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_searches_keep_the_target_and_are_never_worse_than_a_seed_that_does(
    case: tuple[Layers, Observed], target: float, seed: int
) -> None:
    layers, observed = case
    seeds = [nested_exits(layers, observed.able), interval_exits(layers)]
    for search in ("beam", "ants"):
        judge = Judge(layers, observed, target)
        try:
            if search == "beam":
                found = beam_search(judge, seeds, width=2)
            else:
                found = ant_colony(judge, seeds, np.random.default_rng(seed), rounds=3, ants=4)
        except UnreachableAccuracyError:
            assert all(accuracy(observed, exits) < target for exits in [*seeds, ()])
            continue
        assert found.accuracy >= target - 1e-9
        assert found.flops >= brute_force(layers, observed, target).flops - 1e-9
        for exits in [*seeds, ()]:
            if accuracy(observed, exits) >= target:
                assert found.flops <= expected_flops(layers, observed, exits) + 1e-9


@settings(max_examples=40)
@given(cases(), st.integers(0, 2**32 - 1))
def test_what_is_called_finds_the_best_of_small_networks(case: tuple[Layers, Observed], seed: int) -> None:
    layers, observed = case
    final = accuracy(observed, ())
    assume(final > 0)
    found = best_exits(layers, observed, final * 0.9, np.random.default_rng(seed))
    assert found.flops == pytest.approx(brute_force(layers, observed, final * 0.9).flops)


def test_exits_that_repeat_each_other_are_not_both_kept() -> None:
    """Two exits that are sure of the same samples: by their shares alone both look worth it, together one is wasted."""
    same = np.array([True] * 5 + [False] * 5)
    never = np.zeros(10, dtype=bool)
    confident = np.stack([same, same, never, never], axis=1)
    observed = Observed(confident, np.ones_like(confident))
    layers = Layers((10.0, 1.0, 10.0, 10.0), (1.0, 1.0, 1.0, 1.0))
    assert best_exits(layers, observed, 0.0, np.random.default_rng(0)).exits == (0,)


def test_an_accurate_enough_setting_is_taken_though_a_cheaper_one_is_there() -> None:
    confident = np.array([[True, True, True]] * 4)
    right = np.array([[False, True, True]] * 3 + [[True, True, True]])
    layers = Layers((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    observed = Observed(confident, right)
    assert best_exits(layers, observed, 0.0, np.random.default_rng(0)).exits == (0,)
    assert best_exits(layers, observed, 0.9, np.random.default_rng(0)).exits == (1,)


def test_an_accuracy_that_nothing_has_is_said_with_the_best_there_is() -> None:
    confident = np.array([[False, True]] * 4)
    right = np.array([[False, True]] * 3 + [[True, False]])
    with pytest.raises(UnreachableAccuracyError, match=r"0\.9000.*has 0\.7500"):
        best_exits(Layers((1.0, 1.0), (0.0, 0.0)), Observed(confident, right), 0.9, np.random.default_rng(0))


def test_everyone_leaves_behind_the_last_layer_however_unsure() -> None:
    observed = Observed(np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool))
    assert left_behind(observed, (0, 2)).tolist() == [3, 3, 3]


def test_spinns_exits_stand_where_another_share_of_the_flops_is_done() -> None:
    assert interval_exits(Layers((1.0,) * 20, (0.0,) * 20)) == (2, 5, 8, 11, 14, 17)
    assert interval_exits(Layers((1.0,) * 10, (0.0,) * 10), share=0.5) == (4,)
    assert interval_exits(Layers((5.0, 1.0, 1.0), (0.0,) * 3)) == (0, 1)
    assert interval_exits(Layers((0.0, 0.0), (1.0, 1.0))) == ()


@pytest.mark.parametrize(
    ("flops", "heads"), [((), ()), ((1.0,), ()), ((-1.0, 1.0), (0.0, 0.0)), ((1.0,), (float("nan"),))]
)
def test_costs_that_no_network_has_are_refused(flops: tuple[float, ...], heads: tuple[float, ...]) -> None:
    with pytest.raises(BadLayersError):
        Layers(flops, heads)


def test_exits_shares_and_observations_of_another_network_are_refused() -> None:
    layers = Layers((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    four = Observed(np.ones((2, 4), dtype=bool), np.ones((2, 4), dtype=bool))
    with pytest.raises(BadLayersError, match="must ascend within"):
        nested_flops(layers, (0.1, 0.2, 1.0), (2,))
    with pytest.raises(BadLayersError, match="must not fall"):
        nested_exits(layers, (0.5, 0.2, 1.0))
    with pytest.raises(BadLayersError, match="2 shares for 3 layers"):
        nested_exits(layers, (0.5, 0.2))
    with pytest.raises(BadObservationsError, match="at 4 exits do not fit 3 layers"):
        best_exits(layers, four, 0.5, np.random.default_rng(0))
    with pytest.raises(BadObservationsError, match="must be bool"):
        Observed(np.ones((2, 3)), np.ones((2, 3)))  # type: ignore[arg-type]
    with pytest.raises(BadObservationsError, match="must be"):
        Observed(np.ones((2, 3), dtype=bool), np.ones((2, 4), dtype=bool))


def test_targets_and_distances_outside_their_range_are_refused() -> None:
    layers = Layers((1.0, 1.0), (0.0, 0.0))
    some = Observed(np.ones((2, 2), dtype=bool), np.ones((2, 2), dtype=bool))
    with pytest.raises(ValueError, match="cannot be a target"):
        best_exits(layers, some, 1.5, np.random.default_rng(0))
    for refused in (lambda: Judge(layers, some, 0.5, -1), lambda: nested_exits(layers, (0.1, 1.0), -1)):
        with pytest.raises(ValueError, match="-1 exits at most"):
            refused()
    with pytest.raises(ValueError, match="distance of 0"):
        interval_exits(layers, 0.0)


def test_networks_too_deep_to_try_everything_are_refused_by_brute_force() -> None:
    deep = Layers((1.0,) * 18, (0.0,) * 18)
    with pytest.raises(ValueError, match="too many settings"):
        brute_force(deep, Observed(np.ones((1, 18), dtype=bool), np.ones((1, 18), dtype=bool)), 0.0)
