"""What scenarios came to, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.markup import escape
from rich.table import Table

from bench.chaos.figures import Figures
from bench.chaos.outcome import Outcome
from stageline.tables import new_table

_COUNTS: Final = ("submitted", "answered", "failed_with_reason", "lost", "duplicates_visible", "wrong")
_TIMES: Final = ("detect_ms", "replan_ms", "first_answer_ms", "longest_silence_ms")
_HEADINGS: Final = (
    "scenario", ">submitted", ">answered", ">failed", ">lost", ">twice", ">wrong", ">detect ms", ">replan ms",
    ">first answer ms", ">silence ms", "~limit", "held",
)  # fmt: skip
_HELD: Final = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "[dim]left out[/dim]"}


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """A row each."""
    table = new_table("what survives what", *_HEADINGS)
    for one in outcomes:
        limits = "; ".join(map(str, one.limits))
        table.add_row(one.name, *_cells(one.figures), escape(limits), _HELD[one.held])
    return table


def remarks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What is to be said beside the table, a line each, with markup."""
    for one in outcomes:
        if one.left_out:
            yield f"[yellow]{one.name} was left out:[/yellow] {escape(one.left_out)}"
        for text in one.remarks:
            yield f"{one.name}: {escape(text)}"
        for text in one.complaints:
            yield f"[red]{one.name}:[/red] {escape(text)}"


def _cells(figures: Figures | None) -> Iterator[str]:
    for name in (*_COUNTS, *_TIMES):
        value = getattr(figures, name, None)
        yield "-" if value is None else f"{value:.0f}"
