"""A flood of messages is no flood of log lines, and none of them moves a terminal's cursor."""

from __future__ import annotations

import logging

from services.lifecycle import PlainLines, harmless
from services.log_limits import BURST, PERIOD_S, LogLimit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("service", logging.INFO, __file__, 1, text, arguments, None)


def test_of_each_kind_a_burst_is_written_and_then_how_many_were_not() -> None:
    clock = Clock()
    limit = LogLimit(clock)
    assert sum(limit.filter(line("lost %s", number)) for number in range(500)) == BURST
    assert limit.filter(line("another kind"))
    clock.now += PERIOD_S
    said = line("lost %s", "pi4")
    assert limit.filter(said)
    assert said.getMessage() == f"lost pi4 (and {500 - BURST} lines like it were left out)"
    clock.now += PERIOD_S
    said = line("lost %s", "pi4")
    assert limit.filter(said)
    assert said.getMessage() == "lost pi4"


def test_kinds_that_are_made_up_take_no_memory_for_ever() -> None:
    limit = LogLimit()
    for number in range(10_000):
        limit.filter(line(f"kind {number}" + "x" * 1000))
    assert len(limit._written) <= 2000
    assert max(len(kind[2]) for kind in limit._written) <= 200


def test_a_line_on_a_terminal_is_one_line_and_moves_nothing() -> None:
    record = line("asked by %s", "\x1b[2J\r\nERROR forged")
    record.where = "a\tb"
    written = PlainLines().format(record)
    assert "\x1b" not in written
    assert "\r" not in written
    first, second = written.splitlines()
    assert first.endswith("\\x1b[2J\\r")
    assert second == "    | ERROR forged where=a\\tb"
    assert harmless("plain ü") == "plain ü"
