"""The tools that scenarios break things with do what they say."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_up_plans import made_up_plan

from bench.chaos.brittle import NAME, brittle_model, ordinary, poisonous
from bench.chaos.deaf import deaf_subscriber
from bench.chaos.made_up import import_onnx
from bench.chaos.memory_watch import MemoryWatch
from bench.chaos.skewed_clock import command, set_skew
from bench.chaos.tape import recording, replay, towards
from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.library import Library
from models.runtime import load_stage

PLAN = made_up_plan("bee[0:3) -> cat[3:6)", deployment="line", generation=4)
CLOCK = """
import json, logging, sys, time
for _ in sys.stdin:
    print(json.dumps([time.time(), time.time_ns(), logging.makeLogRecord({}).created, time.monotonic()]), flush=True)
"""


def test_the_brittle_model_answers_what_is_ordinary_and_raises_in_its_last_block_on_what_is_not(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    card = import_onnx(brittle_model(), NAME, library)
    (taken,) = card.inputs
    whole = load_stage(card, library.blobs, 0, len(card.blocks))
    for seed in range(60):
        assert whole.run({taken.name: ordinary(seed)})
    with pytest.raises(Exception, match="Gather"):
        whole.run({taken.name: poisonous()})
    whole.close()
    first = load_stage(card, library.blobs, 0, 3)
    assert first.run({taken.name: poisonous()})
    first.close()


def test_a_clock_jumps_while_its_program_runs_and_only_that_of_the_day(tmp_path: Path) -> None:
    skew, module = tmp_path / "skew", tmp_path / "clock_teller.py"
    module.write_text(CLOCK)
    set_skew(skew, -3600)
    with subprocess.Popen(
        [*command(skew), "clock_teller"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead_s in (-3600.0, 0.0, 3600.0):
            set_skew(skew, ahead_s)
            process.stdin.write("\n")
            process.stdin.flush()
            day_s, day_ns, logged_s, counted_s = json.loads(process.stdout.readline())
            for told_s in (day_s, day_ns / 1e9, logged_s):
                assert told_s - time.time() == pytest.approx(ahead_s, abs=60)
            assert counted_s == pytest.approx(time.monotonic(), abs=60)
        process.stdin.close()
        process.wait(30)
    assert sys.executable in command(skew)


async def test_what_was_heard_is_said_again(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="hostile", root=root) as bus:
        async with recording(bus, most=2) as tape:
            for number in range(3):
                await bus.publish_bytes("stage/line/3/ant/r0s0", bytes([number]))
            await bus.publish_bytes("answer/somebody", b"a")
            while len(tape.work) < 2 or not tape.answers:
                await bus.publish_bytes("answer/somebody", b"a")
        assert tape.work == [("stage/line/3/ant/r0s0", b"\0"), ("stage/line/3/ant/r0s0", b"\1")]
        async with bus.subscribe_bytes("stage/line/4/bee/r0s0") as heard:
            assert await replay(bus, tape.work, lambda address: towards(address, PLAN)) == 2
            assert [bytes((await anext(heard)).payload) for _ in range(2)] == [b"\0", b"\1"]


def test_old_work_finds_the_same_stage_of_another_plan() -> None:
    assert towards("stage/line/3/ant/r0s1", PLAN) == "stage/line/4/cat/r0s1"
    assert towards("stage/line/3/ant/r2s0", PLAN) == "stage/line/4/bee/r0s0"
    assert towards("stage/line/3/ant/r0s2", PLAN) == "stage/line/4/bee/r0s0"


async def test_a_deaf_subscriber_is_subscribed_and_reads_nothing(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="speaker", root=root) as bus:
        with deaf_subscriber(broker.host, broker.port, f"{root}/stage/#") as sock:
            sock.settimeout(10)
            assert sock.recv(5) == b"\x90\x03\x00\x01\x01"  # subscribed, with QoS 1
            await bus.publish_bytes("stage/line/3/ant/r0s0", b"work")
            assert sock.recv(1) == b"\x32"


def test_memory_is_told_as_it_was_before_at_most_and_after() -> None:
    seen = iter([{"broker": 10_000_000}, {"broker": 70_000_000}, {"broker": 20_000_000, "late": 5}])
    watch = MemoryWatch(lambda: next(seen))
    watch.look()
    watch.look()
    held = watch.held()["broker"]
    assert (held.before, held.peak, held.after, held.grown) == (10_000_000, 70_000_000, 20_000_000, 60_000_000)
    assert str(held) == "10 -> 70 -> 20 MB"
