"""Pieces of HTML. Whatever comes from results.json passes `text` here, so that no figure can become markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from bench.outcome_tables import cell, columns, headings, upright

_UNITS: Final = ("_ms", "_rps", "_j", "_bytes", "_mbps", "_pct", "_s")


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is finished; anything else is text and gets escaped."""

    markup: str

    def __add__(self, other: Html) -> Html:
        return Html(self.markup + other.markup)


def text(value: object) -> Html:
    """Any value as text."""
    return Html(escape(str(value), quote=True))


def tag(name: str, *inside: Html | str, **attributes: str) -> Html:
    """An element; `class_` is the attribute class."""
    given = "".join(f' {key.rstrip("_")}="{escape(value, quote=True)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{joined(*inside).markup}</{name}>")


def joined(*pieces: Html | str) -> Html:
    """Pieces one after the other."""
    return Html("".join(piece.markup if isinstance(piece, Html) else text(piece).markup for piece in pieces))


def image(data_uri: str, alt: str) -> Html:
    """A picture that is part of the page."""
    return Html(f'<img src="{escape(data_uri, quote=True)}" alt="{escape(alt, quote=True)}">')


def table(headings: Sequence[str], lines: Sequence[Sequence[Html | str]], numeric: Sequence[bool] = ()) -> Html:
    """A table that scrolls sideways where the window is narrow."""
    kinds = ["number" if index < len(numeric) and numeric[index] else "words" for index in range(len(headings))]
    head = tag("tr", *(tag("th", heading, class_=kind) for heading, kind in zip(headings, kinds, strict=True)))
    body = [tag("tr", *(tag("td", one, class_=kind) for one, kind in zip(line, kinds, strict=True))) for line in lines]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def table_of(rows: Sequence[Mapping[str, Any]]) -> Html:
    """Rows of results.json; a figure's quartiles stand small behind it, other nested values are left to the file."""
    keys = columns(rows)
    if upright(rows):
        label, heads = headings(rows)
        lines: list[list[Html | str]] = [
            [key.replace("_", " "), *(_value(row, key) for row in rows)] for key in keys if key != label
        ]
        return table(["figure", *heads], lines)
    numeric = [all(isinstance(row.get(key), int | float | None) for row in rows) for key in keys]
    return table([key.replace("_", " ") for key in keys], [[_value(row, key) for key in keys] for row in rows], numeric)


def _value(row: Mapping[str, Any], key: str) -> Html:
    shown = text(cell(row.get(key)))
    quartiles = row.get(f"{_stem(key)}_spread")
    if not (isinstance(quartiles, list) and len(quartiles) == 2) or quartiles == [row.get(key)] * 2:
        return shown  # of one value there is no spread
    low, high = (cell(value) for value in quartiles)
    return joined(shown, " ", tag("small", f"{low}-{high}"))


def _stem(key: str) -> str:
    unit = next((unit for unit in _UNITS if key.endswith(unit)), "")
    return key.removesuffix(unit)
