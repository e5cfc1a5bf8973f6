"""A gateway that is stopped anywhere, any number of times, shows each outcome exactly once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from schemas.frame_header import StageTrace
from schemas.gateway import Delivered
from stageline.inputs import FileContent, WrongInputError
from stageline.journal import store
from stageline.journal.answer_files import AnswerFiles
from stageline.journal.gateway import Gateway, GatewayBusyError, sole_gateway
from stageline.journal.records import Handover, Outcome
from stageline.journal.retrying import Pace
from stageline.journal.store import Journal
from stageline.journal.tables import prepare
from stageline.receipts import Answer, Receipt, RequestFailedError

QUICK = Pace(tries=3, first_pause_s=0.001, longest_pause_s=0.002)
REQUESTS = 3


class Killed(BaseException):
    """As a SIGKILL: nothing after it happens."""


class Fate:
    """Kills at the n-th step of all that are counted."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    def watch(self, thing: object, *names: str, after_too: bool = True) -> None:
        for name in names:
            setattr(thing, name, self._counted(getattr(thing, name), after_too=after_too))

    def _counted(self, method, *, after_too: bool):
        def sync(*arguments):
            self.step()
            result = method(*arguments)
            if after_too:
                self.step()
            return result

        async def waiting(*arguments):
            self.step()
            result = await method(*arguments)
            self.step()
            return result

        return waiting if asyncio.iscoroutinefunction(method) else sync


class StubClient:
    """Answers with twice the array that a request brought."""

    window = 2

    def __init__(self, fails: dict[str, list[Exception]] | None = None) -> None:
        self.fails = fails or {}
        self.submitted: Counter[str] = Counter()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *problem: object) -> None:
        pass

    async def submit(self, content: FileContent, *, deadline_s: float) -> Answer:
        self.submitted[content.name] += 1
        await asyncio.sleep(0)
        if self.fails.get(content.name):
            raise self.fails[content.name].pop(0)
        array = 2 * np.load(BytesIO(content.data))
        trace = StageTrace(device="pi4", first=0, last=1, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1, bytes_out=1)
        receipt = Receipt(
            request="q", deployment="cats", generation=1, route="r0: pi4[0:1)", attempts=1, latency_ms=1, held_ms=0,
            stages=(trace,),
        )  # fmt: skip
        return Answer("q", {"y": array}, receipt)


def array_file(number: int) -> FileContent:
    file = BytesIO()
    np.save(file, np.full(3, number, np.float32))
    return FileContent(f"{number}.npy", file.getvalue())


def handed_over(folder: Path, requests: int = REQUESTS, deadline: float | None = None) -> None:
    with Journal(folder) as journal:
        journal.hand_over(
            [Handover(f"q{i}", "cats", array_file(i), deadline or time.time() + 60) for i in range(requests)]
        )


async def life(folder: Path, fate: Fate | None = None, client: StubClient | None = None, **more) -> None:
    """One life of a gateway, until everything has its outcome or it is killed."""
    journal = Journal(folder)
    place = AnswerFiles(folder / "answers", journal.name)
    if fate is not None:
        fate.watch(journal, "resolve", "shown", "set_aside")
        fate.watch(place, "prepare", "settle")
        fate.watch(place, "_part", "_target", after_too=False)  # each of the files on its way

    async def nowhere(name: str):
        raise AssertionError(name)

    with journal:
        await Gateway(
            journal, place, place_of=nowhere, client_of=lambda _: client or StubClient(), pace=QUICK,
            until_empty=True, **more,
        ).run()  # fmt: skip


async def is_killed(folder: Path, fate: Fate) -> bool:
    """Whether fate ends this life before it has done all."""
    try:
        await life(folder, fate)
    except BaseException as error:
        if "Killed" not in repr(error):
            raise
        return True
    return False


class Reader:
    """Takes away every answer that it sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: Counter[str] = Counter()

    def read(self) -> None:
        for path in self.folder.glob("*.json"):
            delivered = Delivered.model_validate_json(path.read_text())
            assert delivered.state == "answered"
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
                assert arrays["y"][0] == 2 * float(delivered.request[1:])
            self.seen[delivered.request] += 1
            path.unlink()
            path.with_suffix(".npz").unlink()


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill, unlike a power cut, loses nothing that was not synced; and syncing takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)

    def without(db: sqlite3.Connection, path: Path) -> str:
        name = prepare(db, path)
        db.execute("PRAGMA synchronous = OFF")
        return name

    monkeypatch.setattr(store, "prepare", without)


@pytest.mark.parametrize("takes_away", [False, True], ids=["files stay", "files are taken away"])
async def test_killed_at_every_single_step_each_answer_is_seen_once(
    tmp_path: Path, unsynced: None, takes_away: bool
) -> None:
    at, killed = 0, True
    while killed:
        at += 1
        folder = tmp_path / str(at)
        handed_over(folder)
        reader = Reader(folder / "answers")
        killed = await is_killed(folder, Fate(at))
        if takes_away:
            reader.read()
        await life(folder)
        reader.read()
        assert reader.seen == Counter({f"q{i}": 1 for i in range(REQUESTS)}), f"killed at step {at}"
        with Journal(folder) as journal:
            (tally,) = journal.tallies()
            assert (tally.open, tally.arriving, tally.answered, tally.failed) == (0, 0, REQUESTS, 0)
    assert at > 20


async def test_killed_again_and_again_it_gets_there(tmp_path: Path, unsynced: None) -> None:
    handed_over(tmp_path)
    reader = Reader(tmp_path / "answers")
    lives = 1
    while await is_killed(tmp_path, Fate(lives)):
        lives += 1
        reader.read()
    reader.read()
    assert reader.seen == Counter({f"q{i}": 1 for i in range(REQUESTS)})
    assert lives > 5


async def test_an_answer_with_a_file_in_its_way_stops_no_other_and_is_shown_once_the_file_is_gone(
    tmp_path: Path, unsynced: None
) -> None:
    at, killed = 0, True
    while killed:
        at += 1
        folder = tmp_path / str(at)
        handed_over(folder)
        reader = Reader(folder / "answers")
        (folder / "answers").mkdir()
        theirs = folder / "answers" / "q1.json"
        theirs.write_text("somebody's")
        killed = await is_killed(folder, Fate(at))
        if not killed:
            with Journal(folder) as journal:
                (aside,) = journal.asides(9)
                (tally,) = journal.tallies()
            assert "q1.json is there already" in aside.why
            assert (tally.open, tally.aside, tally.arriving, tally.answered) == (0, 1, 0, REQUESTS - 1)
            await life(folder)
        assert theirs.read_text() == "somebody's"
        theirs.unlink()
        reader.read()
        await life(folder)
        reader.read()
        assert reader.seen == Counter({f"q{i}": 1 for i in range(REQUESTS)}), f"killed at step {at}"
    assert at > 15


@pytest.mark.parametrize("until_empty", [False, True])
async def test_a_request_fails_at_its_deadline_though_those_before_it_wait_for_ever(
    tmp_path: Path, until_empty: bool
) -> None:
    class NoPlan(StubClient):
        window = 0
        served = asyncio.Event()

        async def submit(self, content: FileContent, *, deadline_s: float) -> Answer:
            await self.served.wait()
            return await super().submit(content, deadline_s=deadline_s)

    client = NoPlan()
    handed_over(tmp_path, 4)
    soon = time.time() + 0.3
    with Journal(tmp_path) as journal:
        journal.hand_over([Handover(f"late{i}", "cats", array_file(i), soon) for i in range(100)])
    seen: dict[str, str] = {}
    all_late = asyncio.Event()

    def note(outcome: Outcome) -> None:
        assert outcome.request not in seen
        seen[outcome.request] = outcome.delivered.reason
        if len(seen) == 100:
            all_late.set()

    journal = Journal(tmp_path)
    place = AnswerFiles(tmp_path / "answers", journal.name)
    gateway = Gateway(
        journal, place, place_of=SimpleNamespace, client_of=lambda _: client, until_empty=until_empty, seen=note
    )
    running = asyncio.create_task(gateway.run())
    async with asyncio.timeout(20):
        await all_late.wait()
        assert seen == {f"late{i}": "deadline" for i in range(100)}
        client.served.set()
        if until_empty:
            await running
            assert [seen[f"q{i}"] for i in range(4)] == [""] * 4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_fails_for_good_is_an_outcome_with_its_reason(tmp_path: Path) -> None:
    handed_over(tmp_path, 3)
    poison = [RequestFailedError("stage-failed", "it broke", "pi4", sent=3) for _ in range(9)]
    client = StubClient({"0.npy": [WrongInputError("expected x")], "1.npy": poison})
    await life(tmp_path, client=client)
    shown = {
        path.stem: Delivered.model_validate_json(path.read_text()) for path in (tmp_path / "answers").glob("*.json")
    }
    assert (shown["q0"].reason, shown["q1"].reason, shown["q2"].state) == ("bad-input", "stage-failed", "answered")
    assert "it broke" in shown["q1"].detail
    assert client.submitted == {"0.npy": 1, "1.npy": QUICK.tries, "2.npy": 1}
    assert not (tmp_path / "answers" / "q0.npz").exists()


async def test_tries_are_counted_over_all_lives(tmp_path: Path) -> None:
    handed_over(tmp_path, 1)
    with Journal(tmp_path) as journal:
        for _ in range(QUICK.tries - 1):
            journal.failed_once("q0")
    client = StubClient({"0.npy": [RequestFailedError("stage-failed", "it broke", sent=1)]})
    await life(tmp_path, client=client)
    assert client.submitted == {"0.npy": 1}


async def test_a_line_that_is_away_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    handed_over(tmp_path, 1)
    away = [RequestFailedError("no-plan", "nothing is deployed") for _ in range(20)]
    await life(tmp_path, client=StubClient({"0.npy": away}))
    assert (tmp_path / "answers" / "q0.npz").exists()


async def test_what_was_handed_over_too_long_ago_fails_at_its_deadline(tmp_path: Path) -> None:
    handed_over(tmp_path, 1, deadline=time.time() - 1)
    client = StubClient()
    await life(tmp_path, client=client)
    shown = Delivered.model_validate_json((tmp_path / "answers" / "q0.json").read_text())
    assert shown.reason == "deadline"
    assert not client.submitted


async def test_only_the_deployments_that_were_asked_for_are_delivered(tmp_path: Path) -> None:
    handed_over(tmp_path, 1)
    with Journal(tmp_path) as journal:
        journal.hand_over([Handover("other", "dogs", array_file(7), time.time() + 60)])
    await life(tmp_path, only=("dogs",))
    assert {path.stem for path in (tmp_path / "answers").glob("*.json")} == {"other"}
    with Journal(tmp_path) as journal:
        assert journal.waiting() == {"cats"}


async def test_what_is_handed_over_while_it_runs_is_delivered(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    place = AnswerFiles(tmp_path / "answers", journal.name)
    seen: asyncio.Queue[str] = asyncio.Queue()
    gateway = Gateway(
        journal, place, place_of=SimpleNamespace, client_of=lambda _: StubClient(),
        seen=lambda outcome: seen.put_nowait(outcome.request),
    )  # fmt: skip
    running = asyncio.create_task(gateway.run())
    try:
        async with asyncio.timeout(10):
            for number in range(3):
                await asyncio.to_thread(
                    journal.hand_over, [Handover(f"q{number}", "cats", array_file(number), time.time() + 60)]
                )
                assert await seen.get() == f"q{number}"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_journal_has_one_gateway_at_a_time(tmp_path: Path) -> None:
    with sole_gateway(tmp_path), pytest.raises(GatewayBusyError, match="another gateway"), sole_gateway(tmp_path):
        pass
    with sole_gateway(tmp_path):
        pass
