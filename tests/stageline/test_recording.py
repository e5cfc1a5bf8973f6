"""Recordings: what is written comes back, what is broken is told with its line, and a live fleet ends up in a file."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from simulations.simulated_fleet import Said, Simulation, Truth
from typer.testing import CliRunner

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.deployment import Deployment
from schemas.topics import DEPLOYMENT, DEVICE_TELEMETRY
from stageline.cli import app
from stageline.recorder import Recorder
from stageline.recording import Heard, Recording, RecordingError, header_line, line_of

WITHIN_S = 60.0
WISH = Deployment(deployment="cats", model="net")
HEADER = header_line(1_767_225_600.0)
LINE = line_of(Heard(0.5, DEPLOYMENT, {"deployment": "cats"}, WISH))


def some_messages(seconds: int = 3) -> list[Heard]:
    """What a small fleet says in so many seconds."""
    said: list[Heard] = []

    def keep(now_s: float, one: Said) -> None:
        said.append(Heard(now_s, *one))

    Simulation({"a": Truth(2.0), "b": Truth(3.0)}, WISH, on_said=keep).run(seconds)
    return said


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    cats, dogs = {"deployment": "cats"}, {"deployment": "dogs"}
    said = [*some_messages(), Heard(99.0, DEPLOYMENT, cats, None), Heard(99.0, DEPLOYMENT, dogs, WISH, kept=True)]
    recording = Recording(write(tmp_path / "r", HEADER, *map(line_of, said)))
    assert recording.header.began == 1_767_225_600.0
    assert list(recording) == said
    assert list(recording) == said, "it can be read again"
    assert not recording.cut_short


def test_the_line_of_a_recorder_that_was_killed_is_left_out(tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "r", HEADER, LINE, LINE[:-20]))
    assert len(list(recording)) == 1
    assert recording.cut_short


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"", "is no recording"),
        (b"\x00\xff garbage\n", "is no recording"),
        (b'{"a": 1}\n', "is no recording"),
        (b"[" * 100_000 + b"\n", "is no recording"),
        (b'{"stageline": "recording", "version": 2, "began": 1}\n', "version 2"),
        (b'{"stageline": "recording", "version": 1, "began": "now"}\n', "line 1"),
        (b'{"stageline": "recording", "version": 1, "began": NaN}\n', "line 1"),
    ],
)
def test_a_file_that_is_no_recording_is_told(tmp_path: Path, first: bytes, says: str) -> None:
    with pytest.raises(RecordingError, match=says):
        Recording(write(tmp_path / "r", first, LINE))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\n", "no JSON"),
        (b"{\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b"7\n", "not an object"),
        (b'{"t": 1, "topic": "deployment/cats", "message": null, "more": 1}\n', "not an object"),
        (b'{"t": -1, "topic": "deployment/cats", "message": null}\n', "t is no time"),
        (b'{"t": 1e99, "topic": "deployment/cats", "message": null}\n', "t is no time"),
        (b'{"t": NaN, "topic": "deployment/cats", "message": null}\n', "t is no time"),
        (b'{"t": true, "topic": "deployment/cats", "message": null}\n', "t is no time"),
        (b'{"t": 1, "topic": "deployment/cats"}\n', "message is missing"),
        (b'{"t": 1, "topic": "stage/cats/1/pi/r0s0", "message": null}\n', "no topic that is recorded"),
        (b'{"t": 1, "topic": "deployment/cats", "message": {"deployment": 5}}\n', "deployment/cats: "),
        (b'{"t": 1, "topic": "deployment/cats", "message": "text"}\n', "deployment/cats: "),
        (b'{"t": 0.1, "topic": "deployment/cats", "message": null}\n', "t went back from 0.500 to 0.100"),
    ],
)
def test_a_broken_line_is_told_with_its_number(tmp_path: Path, line: bytes, says: str) -> None:
    recording = Recording(write(tmp_path / "r", HEADER, LINE, line, LINE))
    with pytest.raises(RecordingError, match=f"line 3: .*{says}.*Delete the line"):
        list(recording)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = write(tmp_path / "long", HEADER, LINE, b" " * (5 << 20), b"\n")
    with pytest.raises(RecordingError, match="line 3: longer than"):
        list(Recording(long))
    monkeypatch.setattr("stageline.recording.LARGEST_BYTES", 1 << 20)
    with pytest.raises(RecordingError, match="has 5 MB"):
        Recording(long)
    with pytest.raises(RecordingError, match="cannot be read"):
        Recording(tmp_path / "nowhere")


async def test_the_recorder_ends_when_the_file_is_as_large_as_it_may_be(
    broker: EmbeddedBroker, root: str, tmp_path: Path
) -> None:
    async with Bus(broker.url, name="fleet", root=root) as fleet, Bus(broker.url, name="recorder", root=root) as bus:
        for one in some_messages():
            await fleet.publish(one.topic, one.message, **one.parameters)
        with (tmp_path / "r").open("wb") as file:
            recorder = Recorder(bus, file, most_bytes=4000)
            async with asyncio.timeout(WITHIN_S):
                await recorder.run()
    assert recorder.full
    assert (tmp_path / "r").stat().st_size == recorder.nbytes <= 4000
    assert len(list(Recording(tmp_path / "r"))) == recorder.messages.total() > 0


async def test_a_live_fleet_is_recorded_until_interrupted_and_can_be_replayed(
    broker: EmbeddedBroker, root: str, tmp_path: Path
) -> None:
    file = tmp_path / "live.jsonl"
    command = (
        sys.executable, "-m", "stageline.cli", "record", str(file), "--broker", broker.url, "--root", root,
        "--json", "-",
    )  # fmt: skip
    said = some_messages(20)
    async with Bus(broker.url, name="fleet", root=root) as fleet:
        early = [one for one in said if one.at_s == 0]
        for one in early:
            await fleet.publish(one.topic, one.message, **one.parameters)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(WITHIN_S):
                # Topics of flow are listened to before this one: nothing of what follows is missed.
                await asyncio.to_thread(grown, file, DEPLOYMENT.address(deployment="cats"))
                for one in said[len(early) :]:
                    await fleet.publish(one.topic, one.message, **one.parameters)
                other = WISH.model_copy(update={"deployment": "dogs", "model": "none"})
                await fleet.publish(DEPLOYMENT, other, deployment="dogs")
                await fleet.clear(DEPLOYMENT, deployment="dogs")
                await asyncio.to_thread(grown, file, '"message": null')
                process.send_signal(signal.SIGINT)
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0
    summary = json.loads(output)
    recorded = list(Recording(file))
    assert summary["bytes"] == file.stat().st_size
    assert sum(summary["messages"].values()) == len(recorded)
    assert any(one.kept for one in recorded)
    late = [one.message for one in said[len(early) :] if one.topic is DEVICE_TELEMETRY]
    assert [one.message for one in recorded if one.topic is DEVICE_TELEMETRY][-len(late) :] == late

    result = CliRunner().invoke(app, ["replay", str(file), "--policy", "best-single", "--json", "-"])
    assert result.exit_code == 0, result.output
    replayed = json.loads(result.stdout)
    assert next(row["plan"] for row in replayed["rows"] if row["who"] == "served") == "r0: a[0:8)"
    assert [row["plan"] for row in replayed["rows"] if row["who"] == "replayed"] == ["r0: a[0:8)"]


def grown(file: Path, text: str) -> None:
    """Wait until the file holds a text."""
    until = time.monotonic() + WITHIN_S
    while not (file.exists() and text in file.read_text()):
        assert time.monotonic() < until, f"{text} never came"
        time.sleep(0.05)


def test_a_file_that_exists_is_not_written_over(broker: EmbeddedBroker, root: str, tmp_path: Path) -> None:
    file = write(tmp_path / "r", b"precious")
    arguments = ["record", str(file), "--for", "0.2", "--broker", broker.url, "--root", root]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert file.read_bytes() == b"precious"
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0
    assert list(Recording(file)) == []
