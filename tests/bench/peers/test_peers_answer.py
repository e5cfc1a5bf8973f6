import os
import signal
from contextlib import ExitStack

import numpy as np
import psutil
import pytest

from bench.peers import PEERS, PeerFailedError, available
from bench.peers.cast import launch, ready
from bench.peers.line import expected_answer, made_up_input, peer_line
from bench.peers.program import Program, Role
from bench.peers.variants import Given, variants


@pytest.mark.parametrize("name", ["onnxruntime-replicas", "tcp-pipeline", "torch-rpc", "torch-pipelining"])
def test_a_peer_answers_right_tells_of_a_dead_process_and_leaves_none_behind(name, tiny, pair, tmp_path):
    library, card = tiny
    tensor = made_up_input(card)
    np.save(tmp_path / "input.npy", tensor)
    variant = variants(name, Given(card, library, pair, tmp_path))[0]
    with ExitStack() as stack:
        cast = ready(launch(name, variant.roles, stack))
        assert np.abs(cast.answer() - expected_answer(card, library, tensor)).max() < 1e-5
        assert len(cast.one_by_one(2)) == 2
        load = cast.flat_out(0.1)
        assert 0 < load.run.answered <= load.run.requests
        assert {"big", "small"} <= set(load.cpu_s)
        assert all(held > 0 for held in cast.resident_bytes().values())
        everything = cast.pids()
        os.kill(cast.pid("small"), signal.SIGKILL)
        with pytest.raises(PeerFailedError, match=name):
            cast.flat_out(0.1)
    assert not [pid for pid in everything if psutil.pid_exists(pid)]


def test_variants_of_one_peer_are_measured_in_rounds_and_the_best_of_each_figure_counts(tiny, pair):
    library, card = tiny
    kept = []
    with peer_line("onnxruntime-monolith", card, library, pair, kept.append) as line:
        for _ in range(2):
            line.round(2, 0.05)
        everything = [pid for each in line.measured for pid in each.cast.pids()]
        assert {each.variant.label for each in line.measured} == {"threads=1"}
        assert len(line.fastest.throughput_rps) == 2
        assert len(line.quickest.latencies_ms) == 4
        assert line.fastest.max_abs_error == 0
    assert [record["variant"] for record in kept] == ["threads=1"] * 2
    assert not [pid for pid in everything if psutil.pid_exists(pid)]


def test_a_program_that_cannot_start_is_told_with_the_end_of_its_log(tiny):
    library, _ = tiny
    missing = ("--library", str(library.root), "--model", "nowhere", "--input", "x", "--runtime", "onnxruntime")
    program = Program(Role("big", "bench.peers.whole_program", missing, None), owner="onnxruntime-single")
    try:
        with pytest.raises(PeerFailedError, match="no model 'nowhere' in the library"):
            program.hear(60)
    finally:
        program.end()
    assert not psutil.pid_exists(program.pid)


def test_all_that_a_line_needs_is_said_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("bench.peers.find_spec", lambda _name: None)
    assert available("onnxruntime-replicas") is None
    assert "pip install 'stageline[ray]'" in str(available("ray-serve"))
    assert "stageline[torch]" in str(available("torch-rpc"))


def test_every_peer_has_variants_for_every_device(tiny, pair, tmp_path):
    library, card = tiny
    for name in PEERS:
        found = variants(name, Given(card, library, pair, tmp_path))
        assert found
        assert all(variant.peer == name for variant in found)
