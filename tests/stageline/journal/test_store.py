"""A journal takes requests in for good, knows each one's state, and says in words what is wrong with it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.gateway import Delivered
from stageline.inputs import FileContent
from stageline.journal import store
from stageline.journal.records import Handover, Outcome
from stageline.journal.store import Journal
from stageline.journal.trouble import JournalError, JournalFullError, SameRequestError

FAR = time.time() + 1e6


def request(name: str, data: bytes = b"pixels", deployment: str = "cats") -> Handover:
    return Handover(name, deployment, FileContent("a.png", data), FAR)


def outcome(name: str, reason: str = "") -> Outcome:
    delivered = Delivered(
        request=name, deployment="cats", name="a.png", state="failed" if reason else "answered", reason=reason,
        handed_over=1.0, resolved=2.0,
    )  # fmt: skip
    return Outcome(delivered, b"" if reason else b"arrays")


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal") as opened:
        yield opened


def test_requests_come_back_in_order_with_their_input_after_another_start(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert journal.hand_over([request("a", b"1"), request("b", b"2")]) == [True, True]
        name = journal.name
    with Journal(tmp_path) as journal:
        assert journal.name == name
        first = journal.next_open("cats", 0)
        assert first is not None
        assert (first.request, first.content.data) == ("a", b"1")
        second = journal.next_open("cats", first.number)
        assert second is not None
        assert second.content.data == b"2"
        assert journal.next_open("cats", second.number) is None
        assert journal.next_open("dogs", 0) is None
        assert journal.waiting() == {"cats"}


def test_a_request_handed_over_twice_is_one_request(journal: Journal) -> None:
    assert journal.hand_over([request("a")]) == [True]
    assert journal.hand_over([request("a")]) == [False]
    with pytest.raises(SameRequestError, match="another input"):
        journal.hand_over([request("b"), request("a", b"others")])
    assert [one.open for one in journal.tallies()] == [1], "all or none"


def test_an_outcome_is_for_good(journal: Journal) -> None:
    journal.hand_over([request("a"), request("b")])
    assert journal.resolve([outcome("a"), outcome("a"), outcome("nobody")], "folder:/x") == [outcome("a")]
    assert journal.resolve([outcome("a", "deadline")], "folder:/y") == []
    assert journal.arriving() == [("folder:/x", outcome("a"))]
    assert journal.waiting() == {"cats"}
    journal.shown(["a", "b"])
    assert journal.arriving() == []
    (tally,) = journal.tallies()
    assert (tally.open, tally.arriving, tally.answered, tally.failed) == (1, 0, 1, 0)
    assert journal.hand_over([request("a")]) == [False], "what was answered is not asked again"


def test_failures_are_told_until_they_are_forgotten(journal: Journal) -> None:
    journal.hand_over([request("a"), request("b")])
    journal.resolve([outcome("a", "bad-input"), outcome("b", "deadline")], "folder:/x")
    journal.shown(["a", "b"])
    assert [(one.request, one.reason) for one in journal.failures(5)] == [("b", "deadline"), ("a", "bad-input")]
    assert journal.forget_before(0.0) == 0
    assert journal.forget_before(FAR) == 2
    assert journal.tallies() == []


def test_tries_are_remembered(journal: Journal) -> None:
    journal.hand_over([request("a")])
    journal.failed_once("a")
    one = journal.next_open("cats", 0)
    assert one is not None
    assert one.tries == 1


def test_a_full_journal_takes_nothing_more_until_there_is_room(tmp_path: Path) -> None:
    with Journal(tmp_path, most_bytes=100) as journal:
        journal.hand_over([request("a", bytes(80))])
        with pytest.raises(JournalFullError, match="is its gateway running"):
            journal.hand_over([request("b", bytes(30))])
        journal.resolve([outcome("a")], "folder:/x")
        journal.shown(["a"])
        assert journal.hand_over([request("b", bytes(30))]) == [True]


def test_what_is_there_already_is_no_more_bytes_in_a_full_journal(tmp_path: Path) -> None:
    with Journal(tmp_path, most_bytes=100) as journal:
        journal.hand_over([request("a", bytes(90))])
        assert journal.hand_over([request("a", bytes(90))]) == [False]
        assert journal.hand_over([request("b", b"1234567"), request("b", b"1234567")]) == [True, False]
        with pytest.raises(JournalFullError, match=r"0\.0 MB more"):
            journal.hand_over([request("a", bytes(90)), request("c", b"1234")])
        assert [one.open for one in journal.tallies()] == [2]


def test_each_deployment_with_open_requests_waits(journal: Journal) -> None:
    assert journal.waiting() == set()
    journal.hand_over([request(f"{name}-{i}", deployment=name) for name in ("cats", "birds", "dogs") for i in range(3)])
    assert journal.waiting() == {"birds", "cats", "dogs"}
    journal.resolve([outcome(f"cats-{i}") for i in range(3)], "folder:/x")
    assert journal.waiting() == {"birds", "dogs"}


def test_what_is_set_aside_is_kept_with_its_reason_until_it_can_be_shown(journal: Journal) -> None:
    journal.hand_over([request("a"), request("b")])
    journal.set_aside([(outcome("a"), "in the way"), (outcome("b", "deadline"), "in the way, too")])
    (tally,) = journal.tallies()
    assert (tally.open, tally.aside, tally.failed, tally.waiting_bytes) == (0, 2, 0, len(b"arrays"))
    assert [(one.request, one.why) for one in journal.asides(9)] == [("a", "in the way"), ("b", "in the way, too")]
    first = journal.next_aside(0)
    assert first is not None
    assert first[1] == outcome("a")
    second = journal.next_aside(first[0])
    assert second is not None
    assert second[1] == outcome("b", "deadline")
    assert journal.next_aside(second[0]) is None
    assert journal.resolve([first[1]], "folder:/x") == [outcome("a")]
    assert journal.arriving() == [("folder:/x", outcome("a"))]
    assert [one.request for one in journal.asides(9)] == ["b"]


def test_overdue_requests_are_found_behind_any_number_of_others(journal: Journal) -> None:
    journal.hand_over([request(f"q{number}") for number in range(50)])
    late = [Handover(name, "cats", FileContent("a.png", b"x"), when) for name, when in (("b", 20.0), ("a", 10.0))]
    journal.hand_over([*late, Handover("c", "dogs", FileContent("a.png", b"x"), 5.0)])
    assert [one.request for one in journal.overdue("cats", 20.0, 9)] == ["a", "b"]
    assert [one.request for one in journal.overdue("cats", 20.0, 1)] == ["a"]
    assert journal.overdue("cats", 9.0, 9) == []


def bytes_read() -> int:
    """By this process so far, from files."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


def test_what_waits_is_counted_and_added_to_without_being_read(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.hand_over([request(f"q{number}", bytes([number]) * 1_000_000) for number in range(8)])
    with Journal(tmp_path) as journal:
        before = bytes_read()
        journal.hand_over([request("small")])
        (tally,) = journal.tallies()
        assert bytes_read() - before < 500_000
    assert tally.waiting_bytes == 8_000_000 + len(b"pixels")


def test_a_full_disk_is_told_and_what_was_there_stays(journal: Journal) -> None:
    journal.hand_over([request("a")])
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(JournalError, match="no room on the disk"):
        journal.hand_over([request("b", bytes(100_000))])
    assert [one.open for one in journal.tallies()] == [1]


def test_a_journal_that_somebody_holds_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BUSY_S", 0.05)
    with Journal(tmp_path) as journal:
        other = sqlite3.connect(tmp_path / store.DATABASE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="held by another program"):
            journal.hand_over([request("a")])
        other.execute("ROLLBACK")
        other.close()
        assert journal.hand_over([request("a")]) == [True]


def test_a_damaged_journal_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / store.DATABASE
    path.write_bytes(b"this was a journal once" * 1000)
    with pytest.raises(JournalError, match="damaged"):
        Journal(tmp_path)
    assert path.read_bytes().startswith(b"this was")


def test_another_programs_database_is_not_touched(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / store.DATABASE)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    with pytest.raises(JournalError, match="no journal that this version"):
        Journal(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / "file" / "journal")
    with pytest.raises(JournalError, match="there is no journal"):
        Journal(tmp_path / "nothing", must_exist=True)


def test_what_was_handed_over_outlives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from stageline.inputs import FileContent\nfrom stageline.journal.records import Handover\n"
        "from stageline.journal.store import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(100_000):\n"
        "    journal.hand_over([Handover(f'r{number}', 'cats', FileContent('a.png', b'x' * 500), 9e9)])\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        said = [int(source.stdout.readline()) for _ in range(20)]
        os.kill(source.pid, signal.SIGKILL)
        said += [int(line) for line in source.stdout if line.endswith("\n")]
    with Journal(tmp_path) as journal:
        (tally,) = journal.tallies()
        assert tally.open >= len(said), "whoever was told that it is on disk was told the truth"
