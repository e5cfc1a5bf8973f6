"""Recorded machines: trees of files, and commands that answer from a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


class RecordedCommands:
    """Answers commands from a table; counts what was asked."""

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []

    async def __call__(self, command: tuple[str, ...]) -> str | None:
        self.asked.append(" ".join(command))
        return self.answers.get(" ".join(command))


@pytest.fixture
def commands():
    return RecordedCommands


@pytest.fixture
def tree(tmp_path: Path):
    """Write files below a temporary root."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write
