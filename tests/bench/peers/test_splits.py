from itertools import accumulate, combinations, pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench.peers.splits import TooFewPlacesError, best_pipeline, borders_of_shares, even_split
from bench.peers.torch_split import Normalise, parts_by_shares, whole_module
from models.normalise import PictureInput
from models.profiling import ProfiledBlocks


def test_borders_lie_nearest_to_the_shares():
    work = [0, 10, 20, 30, 40, 50, 60]
    assert borders_of_shares(work, [1, 1, 1]) == [0, 2, 4, 6]
    assert borders_of_shares(work, [3, 2, 1]) == [0, 3, 5, 6]


def test_every_part_keeps_a_step_also_where_one_step_is_nearly_all_of_the_work():
    assert borders_of_shares([0, 1, 2, 100], [1, 1, 1]) == [0, 1, 2, 3]
    assert borders_of_shares([0, 98, 99, 100], [1, 1, 1]) == [0, 1, 2, 3]


def test_fewer_steps_than_parts_are_refused():
    with pytest.raises(TooFewPlacesError, match="use fewer devices"):
        borders_of_shares([0, 1], [1, 1])


blocks = st.lists(st.floats(0.1, 20), min_size=2, max_size=5)


@given(blocks, st.lists(st.sampled_from([0.22, 0.33, 0.55, 1.0]), min_size=1, max_size=3))
def test_the_measured_split_has_the_least_bottleneck_of_all_pipelines(block_ms, cores):
    found = best_pipeline(ProfiledBlocks(tuple(block_ms), 0.1, 1), cores)
    assert [part.first for part in found] == [0, *(part.last for part in found)][:-1]
    assert found[-1].last == len(block_ms)
    done = [0, *accumulate(block_ms)]

    def bottleneck(devices, borders):
        spans = zip(devices, pairwise(borders), strict=True)
        return max((done[last] - done[first] + 0.1) / cores[device] for device, (first, last) in spans)

    best = min(
        bottleneck(devices, [0, *inner, len(block_ms)])
        for used in range(1, min(len(cores), len(block_ms)) + 1)
        for devices in permutations(range(len(cores)), used)
        for inner in combinations(range(1, len(block_ms)), used - 1)
    )
    ours = bottleneck([part.device for part in found], [0, *(part.last for part in found)])
    assert ours == pytest.approx(best)


def test_an_even_split_covers_the_model_in_the_order_of_the_fleet(tiny):
    _, card = tiny
    parts = even_split(card, 2)
    assert [part.device for part in parts] == [0, 1]
    assert (parts[0].first, parts[0].last, parts[1].last) == (0, parts[1].first, len(card.blocks))


@pytest.mark.parametrize("shares", [[1.0], [1.0, 1.0], [0.7, 0.2, 0.1]])
def test_parts_in_a_row_answer_as_the_whole_module_does(tiny, shares):
    _, card = tiny
    module = whole_module(card)
    tensor = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    parts = parts_by_shares(module, tensor, shares)
    assert len(parts) == len(shares)
    with torch.no_grad():
        assert torch.equal(nn.Sequential(*parts)(tensor), module(tensor))


def test_no_part_ends_between_a_skip_and_its_sum(tiny):
    _, card = tiny
    tensor = torch.zeros(1, 3, 16, 16)
    parts = parts_by_shares(whole_module(card), tensor, [0.45, 0.55])
    layers = [[type(layer).__name__ for layer in part.modules() if isinstance(layer, nn.Conv2d)] for part in parts]
    # Half of the work lies between the two convolutions that the skip goes around.
    assert [len(part) for part in layers] in ([1, 3], [3, 1])


def test_a_picture_is_normalised_as_the_imported_graph_does_it():
    picture = torch.randint(0, 256, (1, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    normalise = Normalise(PictureInput(resize=4, crop=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)))
    by_hand = (picture.numpy().transpose(0, 3, 1, 2) / 255 - np.array([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1)) / np.array(
        [0.2, 0.25, 0.3]
    ).reshape(1, 3, 1, 1)
    assert np.allclose(normalise(picture).numpy(), by_hand, atol=1e-5)
