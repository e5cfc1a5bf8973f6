"""How tables look everywhere: few lines, numbers to the right, nothing ever cut short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table

WIDE_COLUMNS = 160
"""Of output that goes into a file or a pipe, where nobody's window is too narrow."""
_ANY_WIDTH: Final = 10_000
_FOLDED: Final = 20
"""Folding text that is longer than this may make it so narrow, and narrower only where no word is broken."""


class FittingTable(Table):
    """A table that breaks no word and no number: columns that have no room come below, beside the first ones again.

    `keys`: how many of the first columns name a row.
    """

    keys = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a usual table where that fits, else as several, one below the other."""
        room = options.max_width
        if Measurement.get(console, options.update(max_width=_ANY_WIDTH), self).maximum <= room or not self.columns:
            yield from super().__rich_console__(console, options)
            return
        sizes = [_size(console, options, column) for column in self.columns]
        groups = _groups([least for least, _ in sizes], keys=self.keys, room=room)
        for number, group in enumerate(groups):
            widths = _widths([sizes[index] for index in group], room)
            yield self._part(group, widths, first=number == 0, last=number == len(groups) - 1)

    def _part(self, group: Sequence[int], widths: Sequence[int], *, first: bool, last: bool) -> Table:
        part = _bare(self.title if first else None)
        part.caption, part.caption_justify = (self.caption if last else None), self.caption_justify
        for index, width in zip(group, widths, strict=True):
            column = self.columns[index]
            part.add_column(column.header, justify=column.justify, overflow="fold", width=width)
        cells = [list(self.columns[index].cells) for index in group]
        for number, row in enumerate(self.rows):
            part.add_row(*(column[number] for column in cells), style=row.style)
        return part


def new_table(title: str | None, *headings: str, keys: int = 1) -> FittingTable:
    """A table; headings that start with `>` are of numbers, `~` of long text that may be folded.

    Where it is wider than the window, columns go below it; the first `keys` of them, which name a row, are repeated.
    """
    table = _bare(title)
    table.keys = keys
    for heading in headings:
        if heading.startswith("~"):
            table.add_column(heading[1:], overflow="fold")
        else:
            number = heading.startswith(">")
            table.add_column(heading.removeprefix(">"), justify="right" if number else "left", no_wrap=True)
    return table


def _bare(title: object) -> FittingTable:
    return FittingTable(
        title=title,  # type: ignore[arg-type]  # of a table that was made here: the same again
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip


def _size(console: Console, options: ConsoleOptions, column: Column) -> tuple[int, int]:
    """The least width of a column that breaks nothing, and what it would like."""
    wide = options.update(max_width=_ANY_WIDTH)
    found = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
    natural = max(one.maximum for one in found)
    if column.no_wrap:
        return natural, natural
    return max(min(natural, _FOLDED), *(one.minimum for one in found)), natural


def _between(columns: int) -> int:
    """What stands between so many columns, and at the edges."""
    return 3 * columns - 1


def _groups(least: Sequence[int], *, keys: int, room: int) -> list[list[int]]:
    """Which columns stand side by side: as many as fit, at least one beside the keys."""
    first = list(range(keys))
    groups = [list(first)]
    for index in range(keys, len(least)):
        beside = [*groups[-1], index]
        if len(beside) > keys + 1 and sum(least[one] for one in beside) + _between(len(beside)) > room:
            groups.append([*first, index])
        else:
            groups[-1] = beside
    return groups


def _widths(sizes: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Widths of the columns of one table: what is left over goes to those that would like it, evenly."""
    widths = [least for least, _ in sizes]
    left = room - _between(len(sizes)) - sum(widths)
    if left < 0:
        # One column beside the keys, and too long a word in it: here something must break.
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] = max(1, widths[widest] + left)
        return widths
    wishes = sorted((natural - least, index) for index, (least, natural) in enumerate(sizes))
    for place, (wish, index) in enumerate(wishes):
        given = min(wish, left // (len(wishes) - place))
        widths[index] += given
        left -= given
    return widths
