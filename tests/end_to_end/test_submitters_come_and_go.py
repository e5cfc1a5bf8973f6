"""Submitters that are killed, that hang, and gateways that are killed again and again, on a line of real processes."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from end_to_end.small_line import TIMEOUT_S, replicas, some_input

from broker.bus import Bus
from models.runtime import StageRunner
from schemas.model import ModelCard
from schemas.topics import DEVICE_TIMING
from stageline.client import Client
from stageline.emulation.house import House
from stageline.emulation.usage import resident_bytes

JOURNALLED = 60
SOON_S = 20.0
"""After a deadline, at most: each device must have been at rest for two reports."""
FLOOD = """
import asyncio, sys
import numpy as np
from stageline.client import Client

async def main():
    async with Client(sys.argv[1], deployment="line", name=sys.argv[2], deadline_s=float(sys.argv[3])) as client:
        inputs = (np.full((1, 8, 24, 24), i, np.float32) for i in range(100_000))
        async for result in client.submit_many(inputs, in_order=False):
            if result.index == 20:
                print("under way", flush=True)

asyncio.run(main())
"""


@contextmanager
def flooding(running: House, name: str, deadline_s: float) -> Iterator[subprocess.Popen[str]]:
    """A submitter of its own process that keeps every window full; inside once it has had answers."""
    command = [sys.executable, "-c", FLOOD, running.broker.url, name, str(deadline_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "under way\n"
            yield process
        finally:
            process.kill()


async def all_answered(running: House, requests: int) -> float:
    """Submit so many; returns the slowest's latency, s."""
    async with Client(running.broker.url, deployment="line", deadline_s=TIMEOUT_S) as client:
        slowest_s = 0.0
        async for result in client.submit_many([some_input(seed) for seed in range(requests)], in_order=False):
            assert result.answer is not None, result.error
            slowest_s = max(slowest_s, result.answer.receipt.latency_ms / 1000)
        assert (client.audit.lost, client.audit.failed) == (0, 0)
    return slowest_s


async def test_a_submitter_that_is_killed_leaves_nothing_queued_after_its_deadline(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    deadline_s = 1.5
    with flooding(running, "doomed", deadline_s) as submitter:
        submitter.kill()
        submitter.wait()
        killed = time.monotonic()
        await all_answered(running, 30)
    at_rest: Counter[str] = Counter()
    async with bus.subscribe(DEVICE_TIMING) as timings, asyncio.timeout(deadline_s + SOON_S):
        async for delivery in timings:
            timing = delivery.message
            if time.monotonic() - killed < deadline_s:
                continue
            # Of what was answered just now, something may still be under way: on a busy machine it was sent twice.
            rests = timing.queue_depth == 0 and not sum(stage.frames for stage in timing.stages)
            at_rest[timing.device] = at_rest[timing.device] + 1 if rests else 0
            if all(at_rest[one.name] > 1 for one in running.devices):
                break


async def test_a_submitter_that_hangs_holds_nobody_up_and_the_broker_keeps_little(
    running: House, bus: Bus, card: ModelCard
) -> None:
    await replicas(bus, card)
    before_s = await all_answered(running, 20)
    held = resident_bytes(running.broker.pid)
    with flooding(running, "hanging", 30.0) as submitter:
        os.kill(submitter.pid, signal.SIGSTOP)
        try:
            slowest_s = await all_answered(running, 60)
            grown = resident_bytes(running.broker.pid) - held
        finally:
            os.kill(submitter.pid, signal.SIGCONT)
        assert grown < 20_000_000, "no more waits for it than its windows hold"
    # How slow it is here without anybody in the way may change meanwhile.
    after_s = await all_answered(running, 20)
    assert slowest_s < 3 * max(before_s, after_s) + 2.0


async def test_a_gateway_killed_again_and_again_delivers_each_answer_once_and_right(
    running: House, bus: Bus, card: ModelCard, reference: StageRunner, tmp_path: Path
) -> None:
    await replicas(bus, card)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for seed in range(JOURNALLED):
        np.save(inputs / f"{seed:03d}.npy", some_input(seed))
    journal, answers = tmp_path / "journal", tmp_path / "answers"
    handed = await asyncio.to_thread(command, running, "submit", "--journal", journal, "line", inputs, "--json", "-")
    files = {one["request"]: Path(one["file"]) for one in json.loads(handed)["requests"]}
    assert len(files) == JOURNALLED

    reader = Reader(answers)
    with reader:
        for _ in range(3):
            # All, if it was that quick.
            some = min(len(reader.seen) + 1, JOURNALLED)
            process = start(running, "gateway", "--journal", journal, "--answers", answers)
            await asyncio.to_thread(reader.until, lambda some=some: len(reader.seen) >= some, process)
            process.kill()
            process.wait()
        left = JOURNALLED - len(reader.seen)
        await asyncio.to_thread(
            command, running, "gateway", "--journal", journal, "--answers", answers, "--until-empty"
        )
        await asyncio.to_thread(reader.until, lambda: len(reader.seen) >= JOURNALLED, None)
    assert left >= 0
    assert sorted(reader.seen) == sorted(files), "each once"
    for request, path in files.items():
        expected = reference.run({card.inputs[0].name: np.load(path)})[card.outputs[0].name]
        np.testing.assert_allclose(reader.outputs[request], expected, rtol=1e-4, atol=1e-5)


class Reader(threading.Thread):
    """Takes every answer away as soon as it is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="reader")
        self.folder = folder
        self.seen: list[str] = []
        self.outputs: dict[str, np.ndarray] = {}
        self._news = threading.Condition()
        self._over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self.join()
        self.take()

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.take()

    def take(self) -> None:
        for path in sorted(self.folder.glob("*.json")):
            assert json.loads(path.read_text())["state"] == "answered"
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
                (self.outputs[path.stem],) = arrays.values()
            taken = self.folder.parent / f"taken-{secrets.token_hex(8)}"
            path.rename(taken)
            path.with_suffix(".npz").unlink()
            with self._news:
                self.seen.append(path.stem)
                self._news.notify_all()

    def until(self, condition, process: subprocess.Popen[bytes] | None) -> None:
        with self._news:
            deadline = time.monotonic() + TIMEOUT_S
            while not self._news.wait_for(condition, timeout=0.5):
                assert process is None or process.poll() is None, "the gateway ended by itself"
                assert time.monotonic() < deadline, self.seen


def start(running: House, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "stageline.cli", *map(str, arguments)],
        env={**os.environ, "STAGELINE_BROKER": running.broker.url},
    )


def command(running: House, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-m", "stageline.cli", *map(str, arguments)],
        env={**os.environ, "STAGELINE_BROKER": running.broker.url}, stdout=subprocess.PIPE, text=True, check=True,
        timeout=TIMEOUT_S,
    ).stdout  # fmt: skip
