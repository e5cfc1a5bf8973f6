"""What a peer's program says to whoever measures it: one JSON object a line, on what was its standard output.

A program reports once when it is ready, then answers one command after the other, and ends when its standard input
does: whoever measures may die in any way, and no program outlives it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, TypeVar

import numpy as np

from schemas.codec import Array

REST_S: Final = (0.01, 0.03)
"""Before each request of a latency: a device at rest has its quota to spend, and the pause is in step with nothing."""
_REST_SEED: Final = 0
T = TypeVar("T")


@dataclass(frozen=True)
class FlatOut:
    """What a line did while requests never ran out."""

    answered: int
    """Answers that came within `wall_s`, which begins with an answer: filling the line is not counted."""
    wall_s: float
    requests: int
    """All requests of the run, those that filled and drained the line included."""


class Served(Protocol):
    """A line as its program sees it."""

    def infer(self) -> Array:
        """One request with the line's input, its answer waited for."""

    def flat_out(self, seconds: float) -> FlatOut:
        """As many requests as the line takes."""


class Conversation:
    """The program's side; made before anything is imported that prints."""

    def __init__(self) -> None:
        # Libraries print what they like: from here on, that goes to the log.
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def say(self, **fields: Any) -> None:
        """One line to whoever measures."""
        self._out.write(json.dumps(fields) + "\n")

    def commands(self) -> Iterator[dict[str, Any]]:
        """What it is told, until nobody is there any more."""
        for line in sys.stdin:
            yield json.loads(line)


def lead(conversation: Conversation, line: Served, use_threads: Callable[[int], None] = lambda _count: None) -> None:
    """Serve the commands `threads`, `answer`, `one_by_one` and `flat_out` until the end."""
    for command in conversation.commands():
        conversation.say(**answer_to(command, line, use_threads))


def answer_to(command: dict[str, Any], line: Served, use_threads: Callable[[int], None]) -> dict[str, Any]:
    """What one command finds."""
    if command["do"] == "threads":
        use_threads(command["count"])
        return {}
    if command["do"] == "answer":
        return {"answer": line.infer().ravel().tolist()}
    if command["do"] == "one_by_one":
        return {"latencies_ms": [_rested_ms(line, rest) for rest in rests(command["count"])]}
    found = line.flat_out(command["seconds"])
    return {"answered": found.answered, "wall_s": found.wall_s, "requests": found.requests}


def rests(count: int) -> list[float]:
    """How long to rest before each of so many requests, s; the same in every process that counts along."""
    draw = random.Random(_REST_SEED)  # noqa: S311  not a secret
    return [draw.uniform(*REST_S) for _ in range(count)]


def one_after_another(infer: Callable[[], object], seconds: float) -> FlatOut:
    """A flat-out run where nothing overlaps."""
    infer()
    started = time.perf_counter()
    answered = 0
    while (wall := time.perf_counter() - started) < seconds:
        infer()
        answered += 1
    return FlatOut(answered, wall, answered + 1)


def several_in_flight(ask: Callable[[], T], wait: Callable[[T], object], window: int, seconds: float) -> FlatOut:
    """A flat-out run with so many requests under way all the time; answers are awaited in the order of asking."""
    flying = deque(ask() for _ in range(window))

    def turn() -> None:
        wait(flying.popleft())
        flying.append(ask())

    # Until each has been answered once, the line is filling.
    for _ in range(window):
        turn()
    started = time.perf_counter()
    answered = 0
    while (wall := time.perf_counter() - started) < seconds:
        turn()
        answered += 1
    for one in flying:
        wait(one)
    return FlatOut(answered, wall, 2 * window + answered)


def load_input(path: Path) -> Array:
    """The one input that every peer is asked about."""
    tensor: Array = np.load(path, allow_pickle=False)
    return tensor


def _rested_ms(line: Served, rest_s: float) -> float:
    time.sleep(rest_s)
    started = time.perf_counter()
    line.infer()
    return (time.perf_counter() - started) * 1000
