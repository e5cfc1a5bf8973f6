from types import SimpleNamespace

import pytest

from bench.turns.peer import PeerTurn
from bench.turns.seen import Amount, Seen
from stageline.emulation.fleet_file import FleetFile


@pytest.fixture
def fleet():
    device = {"name": "only", "cores": 0.5, "power": {"idle_w": 1.0, "busy_w": 4.0}}
    return FleetFile.model_validate({"name": "one", "device": [device]})


def variant(threads, latencies_ms, rates):
    """A peer's variant after some turns: two requests one by one and one second flat out in each."""
    loads = [
        SimpleNamespace(
            run=SimpleNamespace(requests=rps, wall_s=1.0), cpu_s={"only": 0.5, "submitter": 0.1}, took_s=1.0
        )
        for rps in rates
    ]
    return SimpleNamespace(
        variant=SimpleNamespace(threads=threads, label=f"threads={threads}"),
        latencies_ms=latencies_ms,
        loads=loads,
        throughput_rps=list(rates),
        resident_bytes={"only": 100, "submitter": 1000},
        max_abs_error=1e-6,
    )


def peer(*variants):
    return SimpleNamespace(
        round=lambda _count, _seconds: None,
        measured=variants,
        fastest=max(variants, key=lambda one: one.throughput_rps[0]),
        quickest=min(variants, key=lambda one: one.latencies_ms[0]),
        note="told by the peer",
    )


def test_a_peer_is_shown_at_its_best_and_as_it_comes(fleet):
    turn = PeerTurn(Seen("torch"), peer(variant(1, [9.0, 11.0], [40]), variant(0, [30.0, 50.0], [10])))
    turn.measure(fleet, Amount(1, 2, 1.0))
    assert turn.seen.throughput_rps == [40]
    assert turn.seen.turn_latency_ms == [10.0]
    assert turn.as_it_comes(fleet).throughput_rps == [10]
    assert turn.as_it_comes(fleet).turn_latency_ms == [40.0]


def test_each_turn_has_its_own_latency_so_that_turns_can_be_paired(fleet):
    turn = PeerTurn(Seen("torch"), peer(variant(1, [1.0, 3.0, 10.0, 30.0], [40, 20])))
    turn.measure(fleet, Amount(2, 2, 1.0))
    assert turn.seen.turn_latency_ms == [2.0, 20.0]


def test_a_row_tells_joules_by_the_fleet_and_memory_without_who_asks(fleet):
    turn = PeerTurn(Seen("torch"), peer(variant(1, [1.0, 3.0], [40])))
    turn.measure(fleet, Amount(1, 2, 1.0))
    row = turn.seen.row(fleet)
    # 0.5 CPU seconds on half a core: one second at 4 W, for 40 requests.
    assert row["energy_j"] == pytest.approx(0.1)
    assert (row["energy_method"], row["memory_bytes"], row["cpu_pct"]) == ("modelled", 100, pytest.approx(60.0))


def test_a_system_that_failed_says_so_and_has_no_figures(fleet):
    assert Seen("ray", failed="not installed").row(fleet) == {"system": "ray", "note": "", "failed": "not installed"}
