"""Outcomes as files: `REQUEST.json`, and `REQUEST.npz` beside it where there are outputs.

Exactly once, for readers who take files away too: a file is written and synced in a folder of ours before the journal
says that it arrives, and shown by renaming it. Whoever finds it still in our folder after a crash knows that it was
never seen; whoever does not knows that it was. The .npz is renamed first, so what a .json speaks of is there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stageline.journal.records import Outcome
from stageline.journal.trouble import JournalError

SCHEME: Final = "folder:"
_ARRIVING: Final = ".arriving"


class AnswerFiles:
    """A folder of outcomes.

    Args:
        folder: made when there is none.
        journal: whose; several may show theirs in one folder.

    Raises:
        JournalError: the folder cannot be used.
    """

    def __init__(self, folder: Path, journal: str) -> None:
        self.folder = folder.resolve()
        self._arriving = self.folder / _ARRIVING / journal
        self._is_new = not self._arriving.exists()
        try:
            self._arriving.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._trouble(error) from error

    @property
    def name(self) -> str:
        """The folder, for the journal."""
        return f"{SCHEME}{self.folder}"

    async def prepare(self, outcomes: Sequence[Outcome]) -> Mapping[str, str]:
        """Write and sync them out of sight, but for those where a file of that name is there that is not ours.

        Raises:
            JournalError: no room, or no rights.
        """
        return await asyncio.to_thread(self._prepare, outcomes)

    async def show(self, outcomes: Sequence[Outcome]) -> None:
        """Rename them into sight.

        Raises:
            JournalError: it could not be done.
        """
        await asyncio.to_thread(self._show, [one.request for one in outcomes])

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Rename those that were not; whatever else lies in our folder was never an outcome.

        Raises:
            JournalError: it could not be done, or our folder, which would tell, is gone.
        """
        if outcomes and self._is_new:
            raise JournalError(
                f"{len(outcomes)} answers were on their way into {self.folder}, which is not as it was: is its disk "
                "mounted? Bring the folder back and start the gateway again; started without that, it takes them for "
                "seen"
            )
        await asyncio.to_thread(self._settle, [one.request for one in outcomes])

    def _prepare(self, outcomes: Sequence[Outcome]) -> dict[str, str]:
        in_the_way: dict[str, str] = {}
        try:
            for one in outcomes:
                endings = ("json", "npz") if one.outputs else ("json",)
                there = next((path for path in (self._target(one.request, e) for e in endings) if path.exists()), None)
                if there is not None:
                    in_the_way[one.request] = (
                        f"{there} is there already and is not ours: move it away and start the gateway again"
                    )
                    continue
                if one.outputs:
                    _write(self._part(one.request, "npz"), one.outputs)
                text = one.delivered.model_dump_json(indent=2)
                _write(self._part(one.request, "json"), f"{text}\n".encode())
            _sync(self._arriving)
        except OSError as error:
            raise self._trouble(error) from error
        return in_the_way

    def _show(self, requests: Sequence[str]) -> None:
        try:
            for request in requests:
                for ending in ("npz", "json"):
                    part = self._part(request, ending)
                    if part.exists():
                        part.rename(self._target(request, ending))
            _sync(self.folder)
            _sync(self._arriving)
        except OSError as error:
            raise self._trouble(error) from error

    def _settle(self, requests: Sequence[str]) -> None:
        self._show(requests)
        try:
            for left in self._arriving.iterdir():
                left.unlink()
        except OSError as error:
            raise self._trouble(error) from error

    def _part(self, request: str, ending: str) -> Path:
        return self._arriving / f"{request}.{ending}"

    def _target(self, request: str, ending: str) -> Path:
        return self.folder / f"{request}.{ending}"

    def _trouble(self, error: OSError) -> JournalError:
        return JournalError(
            f"answers cannot be written to {self.folder}: {error.strerror or error}. Mend that and start the gateway "
            "again; nothing was lost"
        )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
