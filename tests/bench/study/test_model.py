"""The network, the tables and the costs are the paper's, written out again here as its formulas have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.study.assumptions import BASE, Assumptions
from bench.study.devices import TABLES, Device
from bench.study.exits import colony_exits, remaining
from bench.study.methods import Table
from bench.study.network import vgg16
from bench.study.problem import Point, build, decide
from models.exits.setting.nested import nested_exits


def test_vgg16_has_the_flops_and_bytes_that_its_shapes_give() -> None:
    network = vgg16(BASE)
    assert sum(network.layers.flops) == pytest.approx(2 * 15.346630656)
    assert network.layers.flops[0] == pytest.approx(2 * 0.086704128)
    assert network.layers.exit_flops[-1] == pytest.approx(2 * 0.123633664)
    assert network.layers.exit_flops[0] == pytest.approx(2 * (49 * 9 * 64 * 512 + 512 * 1000) / 1e9)
    assert network.split_bytes == (
        3 * 224**2, 64 * 224**2, 64 * 112**2, 128 * 112**2, 128 * 56**2, 256 * 56**2, 256 * 56**2, 256 * 28**2,
        512 * 28**2, 512 * 28**2, 512 * 14**2, 512 * 14**2, 512 * 14**2, 512 * 7**2,
    )  # fmt: skip
    in_fp32 = vgg16(replace(BASE, pixel_bytes=4, feature_bytes=4))
    assert in_fp32.split_bytes == tuple(4 * size for size in network.split_bytes)


def test_small_pictures_have_the_same_convolutions() -> None:
    small = vgg16(replace(BASE, input_px=32))
    assert small.layers.flops == pytest.approx([cost / 49 for cost in vgg16(BASE).layers.flops])


@pytest.mark.parametrize("name", ["edge_gflops", "input_px", "share_tries"])
def test_assumptions_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(BASE, **{name: 0})


def test_tables_are_as_printed_and_video_rows_are_made_to_sum_to_one() -> None:
    assert [len(devices) for devices in TABLES.values()] == [5, 7]
    assert {sum(device.printed) for device in TABLES["images"]} == {100}
    assert [sum(device.printed) for device in TABLES["video"]] == [126, 111, 103, 102, 99, 95, 93]
    for devices in TABLES.values():
        for device in devices:
            assert len(device.leaves) == 13
            assert sum(device.leaves) == pytest.approx(1)


def test_the_colony_finds_no_exits_cheaper_than_the_exact_ones_where_exits_are_nested() -> None:
    layers = vgg16(BASE).layers
    for devices in TABLES.values():
        for device in devices:
            able = np.minimum(np.cumsum(device.leaves), 1.0).tolist()
            assert colony_exits(layers, device, seed=1) == nested_exits(layers, able)


@given(st.data())
def test_costs_are_those_of_the_papers_formulas(data: st.DataObject) -> None:
    network = vgg16(BASE)
    layers = network.layers
    device = data.draw(st.sampled_from([device for devices in TABLES.values() for device in devices]))
    other = Device(1.0, 0.1, 70.0, device.printed)
    exits = tuple(sorted(data.draw(st.sets(st.integers(0, 11)))))
    splits = data.draw(st.tuples(st.integers(0, 13), st.integers(0, 13)))
    share = data.draw(st.floats(0.05, 0.95))
    point = Point(data.draw(st.floats(1, 50)), data.draw(st.floats(0, 1)))
    latency, energy = 0.0, 0.0
    for one, split, alpha in zip((device, other), splits, (share, 1 - share), strict=True):
        leaves = [0.0] * 13  # e_j: a closed exit's requests leave at the next open one
        waiting = 0.0
        for layer in range(13):
            waiting += one.leaves[layer]
            if layer in exits or layer == 12:
                leaves[layer], waiting = waiting, 0.0
        runs = [1 - sum(leaves[:layer]) for layer in range(13)] + [0.0]
        head = [layers.exit_flops[layer] if layer in exits or layer == 12 else 0.0 for layer in range(13)]
        work = [runs[layer] * (layers.flops[layer] + head[layer]) for layer in range(13)]
        local_s = sum(work[:split]) / one.gflops
        sending_s = runs[split] * network.split_bytes[split] * 8 / 1e6 / point.bandwidth_mbps
        latency += local_s + sending_s + sum(work[split:]) / (alpha * BASE.edge_gflops)
        energy += one.power_w * local_s + one.transmit_w * sending_s
    problem = build(network, [device, other], [exits, exits], BASE.edge_gflops)
    found = decide(problem, point, splits, [share, 1 - share])
    assert found.latency_s == pytest.approx(latency)
    assert found.energy_j == pytest.approx(energy)
    assert found.cost == pytest.approx(point.w * latency + (1 - point.w) * energy)


def test_requests_of_a_closed_exit_leave_at_the_next_open_one(table: Table) -> None:
    device = TABLES["images"][0]
    assert remaining(table.network.layers, device, (1,))[:4] == pytest.approx((1, 1, 0.82, 0.82))
    assert remaining(table.network.layers, device, ()) == (*(1.0,) * 13, 0.0)


def test_decisions_and_points_that_cannot_be_are_refused(table: Table) -> None:
    count = table.problem.devices
    with pytest.raises(ValueError, match="splits"):
        decide(table.problem, Point(1, 0.5), [14] * count, [0.1] * count)
    with pytest.raises(ValueError, match="shares"):
        decide(table.problem, Point(1, 0.5), [0] * count, [0.5] * count)
    with pytest.raises(ValueError, match="no such point"):
        Point(0, 0.5)
    with pytest.raises(ValueError, match="no such point"):
        Point(1, 1.5)


def test_other_assumptions_than_the_studys_are_named_once() -> None:
    assert Assumptions() == BASE
