"""Outcomes become files once, also for readers who take the files away, wherever a gateway was stopped."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from schemas.gateway import Delivered
from stageline.journal.answer_files import AnswerFiles
from stageline.journal.records import Outcome
from stageline.journal.trouble import JournalError


def outcome(name: str) -> Outcome:
    delivered = Delivered(
        request=name, deployment="cats", name="a.png", state="answered", handed_over=1.0, resolved=2.0
    )
    return Outcome(delivered, b"arrays of " + name.encode())


def visible(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if one.is_file()}


async def test_nothing_is_seen_before_it_is_shown(tmp_path: Path) -> None:
    place = AnswerFiles(tmp_path, "j1")
    await place.prepare([outcome("a")])
    assert visible(tmp_path) == set()
    await place.show([outcome("a")])
    assert visible(tmp_path) == {"a.json", "a.npz"}
    assert json.loads((tmp_path / "a.json").read_text())["request"] == "a"
    assert (tmp_path / "a.npz").read_bytes() == b"arrays of a"


async def test_a_later_gateway_shows_what_was_not_and_repeats_nothing(tmp_path: Path) -> None:
    before = AnswerFiles(tmp_path, "j1")
    await before.prepare([outcome("taken"), outcome("half"), outcome("not"), outcome("unresolved")])
    await before.show([outcome("taken")])
    for name in ("taken.json", "taken.npz"):
        (tmp_path / name).unlink()
    (tmp_path / ".arriving" / "j1" / "half.npz").rename(tmp_path / "half.npz")
    await AnswerFiles(tmp_path, "j1").settle([outcome("taken"), outcome("half"), outcome("not")])
    assert visible(tmp_path) == {"half.json", "half.npz", "not.json", "not.npz"}
    assert list((tmp_path / ".arriving" / "j1").iterdir()) == []


async def test_two_journals_may_share_a_folder(tmp_path: Path) -> None:
    one, other = AnswerFiles(tmp_path, "j1"), AnswerFiles(tmp_path, "j2")
    await one.prepare([outcome("a")])
    await other.settle([])
    await one.show([outcome("a")])
    assert visible(tmp_path) == {"a.json", "a.npz"}


@pytest.mark.parametrize("ending", ["json", "npz"])
async def test_a_file_that_is_not_ours_is_never_replaced_and_in_nobody_elses_way(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_text("somebody's")
    place = AnswerFiles(tmp_path, "j1")
    in_the_way = await place.prepare([outcome("a"), outcome("b")])
    assert in_the_way.keys() == {"a"}
    assert f"a.{ending} is there already and is not ours: move it away" in in_the_way["a"]
    await place.show([outcome("b")])
    assert visible(tmp_path) == {f"a.{ending}", "b.json", "b.npz"}
    assert (tmp_path / f"a.{ending}").read_text() == "somebody's"


async def test_a_full_disk_is_told_and_nothing_half_written_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = AnswerFiles(tmp_path, "j1")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match=r"No space left .* nothing was lost"):
        await place.prepare([outcome("a")])
    assert visible(tmp_path) == set()


async def test_a_folder_that_is_gone_is_told_while_answers_were_on_their_way(tmp_path: Path) -> None:
    place = AnswerFiles(tmp_path / "unmounted", "j1")
    with pytest.raises(JournalError, match="is its disk mounted"):
        await place.settle([outcome("a")])
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be written"):
        AnswerFiles(tmp_path / "file", "j1")
