"""Recorded machines: commands that answer from a table."""

from __future__ import annotations

from collections.abc import Mapping

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
