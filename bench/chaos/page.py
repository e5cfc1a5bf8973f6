"""`python -m bench.chaos.page build/chaos.json`: the measured table into docs/reliability.md, between its two marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- chaos table: begin -->"
END: Final = "<!-- chaos table: end -->"
_COUNTS: Final = {
    "submitted": "submitted", "answered": "answered", "failed_with_reason": "failed", "lost": "lost",
    "duplicates_visible": "twice", "wrong": "wrong",
}  # fmt: skip
_TIMES: Final = {
    "detect_ms": "detect", "replan_ms": "replan", "first_answer_ms": "first answer", "longest_silence_ms": "silence",
}  # fmt: skip
_KNOWN: Final = {"scenario", "must_hold", "held", "took_s", "silence_before_ms", *_COUNTS, *_TIMES}
_HELD: Final = {True: "yes", False: "**no**", None: "left out"}

app: Final = typer.Typer(add_completion=False)


class NoTableError(ValueError):
    """A page without the marks that the table goes between."""

    def __init__(self, page: Path) -> None:
        super().__init__(f"{page} has no place for the table: put {BEGIN} and {END} into it")


def with_table(page: str, document: Mapping[str, Any]) -> str | None:
    """The page with this run's table in place of the one before; None where it has no place for one.

    Args:
        page: Markdown.
        document: what `python -m bench.chaos --json` wrote.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        return None
    table = "\n".join(_lines(document))
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _lines(document: Mapping[str, Any]) -> list[str]:
    meta, rows = document["meta"], document["scenarios"]
    quick = " Quick: a small model and small loads." if meta.get("mode") == "quick" else ""
    headings = ["scenario", "must hold", *_COUNTS.values(), *_TIMES.values(), "held"]
    lines = [
        f"Measured on {meta['machine']} (commit {meta['commit']}).{quick}",
        "",
        _row(headings),
        _row(["---"] * len(headings)),
    ]
    lines += [_row(_cells(row)) for row in rows]
    further = [_further(row) for row in rows]
    return [*lines, *(["", *filter(None, further)] if any(further) else [])]


def _cells(row: Mapping[str, Any]) -> list[str]:
    figures = [_figure(row.get(name)) for name in (*_COUNTS, *_TIMES)]
    return [str(row["scenario"]), str(row["must_hold"]).replace("|", "/"), *figures, _HELD[row["held"]]]


def _further(row: Mapping[str, Any]) -> str:
    """Figures of a scenario's own, and why it was left out or did not hold."""
    own = [
        f"{name} {_figure(value)}"
        for name, value in row.items()
        if name not in _KNOWN and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    said = [str(row["left_out"])] if row.get("left_out") else [*row.get("complaints", ())]
    text = "; ".join([*own, *said])
    return f"- {row['scenario']}: {text}" if text else ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@app.command()
def main(
    results: Annotated[Path, typer.Argument(help="What `python -m bench.chaos --json FILE` wrote.")],
    page: Annotated[Path, typer.Argument(help="The page to write it into.")] = PAGE,
) -> None:
    """Write the measured table into the page."""
    made = with_table(page.read_text(encoding="utf-8"), json.loads(results.read_text(encoding="utf-8")))
    if made is None:
        raise NoTableError(page)
    page.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    app()
