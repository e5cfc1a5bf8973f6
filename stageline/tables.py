"""How tables look everywhere: few lines, numbers to the right, names never cut short."""

from __future__ import annotations

from rich import box
from rich.table import Table

WIDE_COLUMNS = 160
"""Of output that goes into a file or a pipe, where nobody's window is too narrow."""


def new_table(title: str | None, *headings: str) -> Table:
    """A table; headings that start with `>` are of numbers, `~` of long text that may be folded."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        if heading.startswith("~"):
            table.add_column(heading[1:], overflow="fold")
        else:
            number = heading.startswith(">")
            table.add_column(heading.removeprefix(">"), justify="right" if number else "left", no_wrap=True)
    return table
