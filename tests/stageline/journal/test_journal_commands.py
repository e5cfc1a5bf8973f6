"""`stageline submit` and `stageline gateway` from the outside: what they print, how they end, and being killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from child_processes import running
from typer.testing import CliRunner

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.gateway import Delivered
from schemas.topics import GATEWAY_ANSWER
from stageline.cli import app
from stageline.journal.store import DATABASE

runner = CliRunner()


def run(*arguments: object, code: int = 0) -> Any:
    result = runner.invoke(app, [*map(str, arguments), "--json", "-"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    folder = tmp_path / "arrays"
    folder.mkdir()
    for number in range(12):
        np.save(folder / f"{number:02d}.npy", np.full((1, 4), number, np.float32))
    return folder


# --- handing over ----------------------------------------------------------------------------------------------------
def test_submit_needs_no_broker_and_says_what_it_took(tmp_path: Path, arrays: Path) -> None:
    (arrays / "broken.npy").write_bytes(b"nothing")
    taken = run("submit", "--journal", tmp_path / "j", "d", arrays, code=1)["requests"]
    assert len({one["request"] for one in taken if "request" in one}) == 12
    (refused,) = (one for one in taken if "error" in one)
    assert "broken.npy" in refused["error"]
    status = run("submit", "--journal", tmp_path / "j", "--status")
    assert [(one["deployment"], one["open"], one["answered"]) for one in status["deployments"]] == [("d", 12, 0)]
    shown = runner.invoke(app, ["submit", "--journal", str(tmp_path / "j"), "--status"])
    assert "oldest open" in shown.stdout


def test_a_request_with_a_name_is_handed_over_once(tmp_path: Path, arrays: Path) -> None:
    first = run("submit", "--journal", tmp_path, "d", arrays / "01.npy", "--id", "door-1")["requests"]
    again = run("submit", "--journal", tmp_path, "d", arrays / "01.npy", "--id", "door-1")["requests"]
    assert [one["new"] for one in (*first, *again)] == [True, False]
    said = runner.invoke(app, ["submit", "--journal", str(tmp_path), "d", str(arrays / "01.npy"), "--id", "door-1"])
    assert "0 handed over" in said.stdout
    assert "1 there already, 0 refused" in said.stdout
    refused = runner.invoke(app, ["submit", "--journal", str(tmp_path), "d", str(arrays / "02.npy"), "--id", "door-1"])
    assert refused.exit_code == 2
    assert "door-1" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["d"], "which files"),
        (["d", "nothing.npy"], "no such file"),
        (["a b", "{file}"], "a b"),
        (["d", "{folder}", "--id", "x"], "names one request"),
        (["d", "{file}", "--id", "a/b"], "a/b"),
        (["d", "{file}", "--status"], "leave out"),
        (["--status"], "there is no journal"),
        (["d", "{file}", "--max-mb", "0.001"], "do not fit"),
    ],
)
def test_what_cannot_be_handed_over_is_one_line_and_exit_code_2(
    tmp_path: Path, arrays: Path, arguments: list[str], says: str
) -> None:
    np.save(tmp_path / "large.npy", np.zeros((1, 4000), np.float32))
    file = tmp_path / "large.npy" if "--max-mb" in arguments else arrays / "01.npy"
    given = [one.format(file=file, folder=arrays) for one in arguments]
    result = runner.invoke(app, ["submit", "--journal", str(tmp_path / "j"), *given])
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_damaged_journal_is_one_line_and_exit_code_2(tmp_path: Path, arrays: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no journal" * 999)
    for arguments in (
        ["submit", "--journal", str(tmp_path), "d", str(arrays)],
        ["gateway", "--journal", str(tmp_path)],
    ):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert "damaged" in result.stderr


def test_a_gateway_without_its_broker_is_one_line_and_exit_code_2_where_somebody_waits(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELINE_CONNECT_TIMEOUT_S", "0.2")
    run("submit", "--journal", tmp_path / "j", "d", arrays / "01.npy")
    said = run("gateway", "--journal", tmp_path / "j", "--until-empty", "-b", "mqtt://127.0.0.1:9", code=2)
    assert "127.0.0.1:9" in said["error"]
    status = run("submit", "--journal", tmp_path / "j", "--status")
    assert status["deployments"][0]["open"] == 1


def test_answers_become_files_or_topics_and_not_both(tmp_path: Path) -> None:
    arguments = ["gateway", "--journal", str(tmp_path), "--answers", "a", "--answers-topic", "t"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "--answers or --answers-topic" in result.stderr


# --- delivering ------------------------------------------------------------------------------------------------------
def gateway(
    broker: EmbeddedBroker, root: str, *arguments: object
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return running("stageline.cli", "gateway", *arguments, "--root", root, STAGELINE_BROKER=broker.url)


async def test_a_gateway_delivers_what_there_is_and_ends(line, broker, root, tmp_path: Path, arrays: Path) -> None:
    np.save(arrays / "wrong.npy", np.zeros((3, 3), np.float32))
    taken = {one["request"]: one["file"] for one in run("submit", "--journal", tmp_path, "d", arrays)["requests"]}
    await line.serve("a", "b")
    async with gateway(broker, root, "--journal", tmp_path, "--until-empty", "--json", "-") as process:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1, err.decode()
    assert {key: json.loads(out)[key] for key in ("answered", "failed")} == {"answered": 12, "failed": 1}
    [told] = [line for line in err.decode().splitlines() if "failed" in line]
    assert "(wrong.npy) failed: bad-input: " in told
    shown = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "answers").glob("*.json")}
    assert shown.keys() == taken.keys()
    for request, said in shown.items():
        if said["state"] == "failed":
            assert (said["reason"], said["name"]) == ("bad-input", "wrong.npy")
            continue
        with np.load(tmp_path / "answers" / f"{request}.npz", allow_pickle=False) as outputs:
            assert np.array_equal(outputs["y"], 2 * np.load(taken[request]))
        assert said["stages"][0]["device"] in ("a", "b")
    (failure,) = run("submit", "--journal", tmp_path, "--status")["failures"]
    assert failure["reason"] == "bad-input"


async def test_an_answer_that_is_set_aside_is_told_and_makes_exit_code_1(
    line, broker, root, tmp_path: Path, arrays: Path
) -> None:
    for number, name in enumerate(("door-1", "door-2")):
        run("submit", "--journal", tmp_path, "d", arrays / f"{number:02d}.npy", "--id", name)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "door-1.json").write_text("somebody's")
    await line.serve("a")
    async with gateway(broker, root, "--journal", tmp_path, "--until-empty", "--json", "-") as process:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1, err.decode()
    assert {key: json.loads(out)[key] for key in ("answered", "failed", "set_aside")} == {
        "answered": 1, "failed": 0, "set_aside": 1,
    }  # fmt: skip
    assert "door-1.json is there already" in err.decode()
    status = run("submit", "--journal", tmp_path, "--status")
    assert (status["deployments"][0]["aside"], status["deployments"][0]["answered"]) == (1, 1)
    assert "move it away" in status["set_aside"][0]["why"]
    shown = runner.invoke(app, ["submit", "--journal", str(tmp_path), "--status"])
    assert "Set aside" in shown.stdout


async def test_a_gateway_that_is_told_to_stop_ends_with_0_and_a_second_one_is_refused(
    line, broker, root, tmp_path: Path, arrays: Path
) -> None:
    run("submit", "--journal", tmp_path / "j", "d", arrays / "01.npy")
    ready = tmp_path / "ready.json"
    async with gateway(broker, root, "--journal", tmp_path / "j", "--json", ready) as process:
        async with asyncio.timeout(30):
            while True:
                if ready.exists():
                    break
                await asyncio.sleep(0.02)
        async with gateway(broker, root, "--journal", tmp_path / "j") as second:
            _, err = await asyncio.wait_for(second.communicate(), 30)
        assert (second.returncode, b"another gateway" in err) == (2, True)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_killed_whenever_an_answer_is_heard_each_is_heard_once(
    line, broker, root, tmp_path: Path, arrays: Path
) -> None:
    async def slowly(fake, delivery) -> None:
        await asyncio.sleep(0.02)
        await fake.answer(delivery)

    line.behaviour = slowly
    await line.serve("a")
    taken = {one["request"]: one["file"] for one in run("submit", "--journal", tmp_path, "d", arrays)["requests"]}
    async with listening(broker, root) as heard:
        arguments = ("--journal", tmp_path, "--answers-topic", "cellar")
        for _ in range(2):
            before = heard.count.total()
            async with gateway(broker, root, *arguments) as process, asyncio.timeout(30):
                await heard.until(lambda n=before: heard.count.total() > n or len(heard.count) == len(taken))
                os.kill(process.pid, signal.SIGKILL)
        async with gateway(broker, root, *arguments, "--until-empty") as process:
            out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, (out, err)
        kept = await heard.bus.snapshot(GATEWAY_ANSWER, gateway="cellar")
        await heard.to_the_end()
    assert heard.count == Counter(dict.fromkeys((*taken, "end"), 1))
    assert len(kept) == len(taken)
    for one in kept:
        (output,) = one.message.outputs
        values = np.frombuffer(b64decode(output.data), np.float32).reshape(output.shape)
        assert np.array_equal(values, 2 * np.load(taken[one.message.request]))


class Heard:
    """How often each outcome was heard, live."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.count: Counter[str] = Counter()
        self._news = asyncio.Condition()

    async def listen(self, told: AsyncIterator[Any]) -> None:
        async for change in told:
            self.count[change.message.request] += 1
            async with self._news:
                self._news.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._news, asyncio.timeout(30):
            await self._news.wait_for(condition)

    async def to_the_end(self) -> None:
        """Everything that was published before this is counted when it returns."""
        last = Delivered(request="end", deployment="d", name="x", state="answered", handed_over=0.0, resolved=0.0)
        await self.bus.publish(GATEWAY_ANSWER, last, gateway="cellar", request="end")
        await self.until(lambda: self.count["end"] > 0)


@asynccontextmanager
async def listening(broker: EmbeddedBroker, root: str) -> AsyncIterator[Heard]:
    async with Bus(broker.url, name="reader", root=root) as bus, bus.watch(GATEWAY_ANSWER, gateway="cellar") as told:
        heard = Heard(bus)
        task = asyncio.create_task(heard.listen(told))
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
