from types import SimpleNamespace

from bench.experiments.memory_bound import Steps, moved_bytes, stored_bytes
from schemas.model import Blob
from schemas.plan_text import parse_route
from stageline.deploying import Rollout


def test_each_state_of_a_rollout_lasts_until_the_next_and_the_last_one_until_the_end():
    clock = iter([100.0, 100.0, 110.0, 140.0, 150.0])
    steps = Steps(lambda: next(clock))
    for state in ("profiling", "profiling", "preparing", "serving"):
        steps.see(Rollout(SimpleNamespace(state=state)))
    assert steps.lengths_s(52.0) == {"profiling": 40.0, "preparing": 10.0, "serving": 2.0}


def test_weights_that_two_stages_of_a_device_share_move_once():
    blobs = {0: Blob(sha256="a" * 64, nbytes=5), 1: Blob(sha256="b" * 64, nbytes=7)}
    card = SimpleNamespace(stage_blobs=lambda first, last: tuple(blobs[number] for number in range(first, last)))
    routes = (parse_route("cam[0:1) -> nano[1:2)"), parse_route("cam[0:2)"))
    assert moved_bytes(card, SimpleNamespace(routes=routes)) == 5 + 7 + 7


def test_only_blobs_count_of_what_lies_in_a_devices_folder(tmp_path):
    blobs = tmp_path / "worker" / "nano" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / ("a" * 64)).write_bytes(b"12345")
    (tmp_path / "worker.log").write_text("not weights")
    assert stored_bytes(tmp_path) == 5
