"""The min-cut behind DADS, against cuts worked out by hand and against all prefixes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.min_cut import LiveTensor, prefix_cut


def test_a_chain_is_cut_where_the_sum_is_least():
    chain = [LiveTensor(0, (1,), 7), LiveTensor(1, (2,), 1)]
    # After the first block: 2 + 7 + (1 + 1); after the second: 2 + 3 + 1 + 1.
    assert prefix_cut([2, 3, 9], [1, 1, 1], chain) == (2, pytest.approx(7))
    # With a slower second block the wider tensor crosses after all: 2 + 7 + 1 + 1 is 11, and 2 + 8 + 1 + 1 is 12.
    assert prefix_cut([2, 8, 9], [1, 1, 1], chain) == (1, pytest.approx(11))


def test_a_tensor_with_several_readers_is_paid_for_once():
    # Were it paid per reader, 3 * 4 ms would cross after the first block, and the second border would be the better.
    read_thrice = [LiveTensor(0, (1, 2, 3), 4), LiveTensor(1, (3,), 4), LiveTensor(2, (3,), 4)]
    assert prefix_cut([1, 9, 9, 9], [5, 5, 5, 5], read_thrice) == (1, pytest.approx(1 + 4 + 15))


def test_a_tensor_that_is_read_again_later_crosses_every_border_until_then():
    residual = [LiveTensor(0, (1, 2), 4), LiveTensor(1, (2,), 1)]
    assert prefix_cut([1, 1, 9], [9, 1, 1], residual) == (1, pytest.approx(1 + 4 + 2))


def test_branches_are_not_cut_at_different_depths():
    # Block 1 and 2 are branches. Keeping only block 2 would be cheapest, 1 + 1 + (20 -> 1) + ..., but is no prefix.
    branches = [LiveTensor(0, (1, 2), 1), LiveTensor(1, (3,), 1), LiveTensor(2, (3,), 1)]
    device, server = [1, 20, 1, 20], [20, 1, 20, 1]
    border, total = prefix_cut(device, server, branches)
    assert (border, total) == (1, pytest.approx(1 + 1 + 1 + 20 + 1))


def test_forbidden_borders_are_kept_free():
    chain = [LiveTensor(0, (1,), 7), LiveTensor(1, (2,), 1)]
    assert prefix_cut([2, 3, 9], [1, 1, 1], chain, forbidden=[2]) == (1, pytest.approx(11))
    assert prefix_cut([2, 3, 9], [1, 1, 1], chain, forbidden=[1, 2]) is None
    assert prefix_cut([2, 3, 9], [1, 1, 1], [LiveTensor(0, (2,), math.inf)]) is None


def test_one_block_cannot_be_cut():
    assert prefix_cut([1], [1], []) is None


times = st.integers(0, 1_000_000).map(lambda us: us / 1e3)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), blocks=st.integers(2, 7))
def test_the_cut_is_the_best_of_all_prefixes_of_any_graph(data, blocks):
    device = data.draw(st.lists(times, min_size=blocks, max_size=blocks))
    server = data.draw(st.lists(times, min_size=blocks, max_size=blocks))
    readers = {block: st.sets(st.integers(block + 1, blocks - 1), min_size=1) for block in range(blocks - 1)}
    tensors = [
        LiveTensor(block, tuple(data.draw(readers[block])), data.draw(times))
        for block in data.draw(st.lists(st.integers(0, blocks - 2), max_size=8))
    ]
    allowed = sorted(data.draw(st.sets(st.integers(1, blocks - 1), min_size=1)))

    def total(border: int) -> float:
        crossing = (t.transfer_ms for t in tensors if t.producer < border <= max(t.consumers))
        return sum(device[:border]) + sum(server[border:]) + sum(crossing)

    border, found = prefix_cut(device, server, tensors, forbidden=set(range(1, blocks)) - set(allowed))
    assert border in allowed
    assert found == pytest.approx(total(border), abs=1e-4)
    assert found == pytest.approx(min(map(total, allowed)), abs=1e-4)
