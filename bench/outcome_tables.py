"""What a run found, as tables for a terminal: the verdicts first, then each part of results.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from bench.results import META, Results
from bench.targets import verdicts
from stageline.tables import new_table

_MOST_COLUMNS: Final = 8
_LONGEST_CELL: Final = 32
"""In a wide table on a terminal: longer texts, as plans, are left to the report."""
_WORDS: Final = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "[dim]not measured[/dim]"}


def outcome_tables(results: Results) -> Iterator[Table]:
    """One table of verdicts, then one for each part that is a list of rows or a set of figures."""
    table = new_table("verdicts", "~target", ">wanted", "~measured", "reached", "~why")
    for verdict in verdicts(results):
        texts = (verdict.name, verdict.wanted, verdict.measured)
        table.add_row(*map(_safe, texts), _WORDS[verdict.reached], _safe(verdict.why))
    yield table
    for part, value in results.items():
        if part != META:
            yield _table(part, rows_of(value))


def rows_of(value: Any) -> list[dict[str, Any]]:
    """A part of results.json as rows: a list of them as it is, an object of objects with their names, else one row."""
    if isinstance(value, list):
        return [_flat(row) if isinstance(row, dict) else {"value": row} for row in value]
    if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
        return [{"": name, **_flat(inner)} for name, inner in value.items()]
    return [_flat(value)] if isinstance(value, dict) else [{"value": value}]


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every key of any row whose values fit one cell, in the order of first appearance."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if not any(isinstance(row.get(key), dict | list) for row in rows)]


def upright(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows are better shown as columns: few of them, with much in each."""
    return len(rows) <= 3 and len(columns(rows)) > 8


def headings(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """What upright rows are called: the first of these keys that they have, and its values."""
    label = next((key for key in ("", "policy", "system", "name", "model") if any(key in row for row in rows)), "")
    return label, [cell(row.get(label, "")) for row in rows]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Objects inside a row become keys with a dot, as deep as they go."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        inner = (
            {f"{key}.{name}": one for name, one in _flat(value).items()} if isinstance(value, dict) else {key: value}
        )
        found |= inner
    return found


def cell(value: object) -> str:
    """A value as text: four digits are more than these measurements give."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _safe(shown: str) -> str:
    """Text for a terminal: neither markup nor control sequences, whoever wrote the results."""
    return escape("".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in shown))


def _table(part: str, rows: list[dict[str, Any]]) -> Table:
    shown = columns(rows)
    if upright(rows):
        label, heads = headings(rows)
        table = new_table(_safe(part), "figure", *(f"~{_safe(head)}" for head in heads))
        for key in shown:
            if key != label:
                table.add_row(_safe(key), *(_safe(cell(row.get(key))) for row in rows))
        return table
    if len(shown) > _MOST_COLUMNS:
        shown = [key for key in shown if all(len(cell(row.get(key))) <= _LONGEST_CELL for row in rows)]
    table = new_table(_safe(part), *(f"{'>' if _numeric(rows, key) else '~'}{_safe(key)}" for key in shown))
    for row in rows:
        table.add_row(*(_safe(cell(row.get(key))) for key in shown))
    return table


def _numeric(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(isinstance(row.get(key), int | float | None) for row in rows)
