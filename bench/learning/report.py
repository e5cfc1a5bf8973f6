"""What was measured in made-up worlds, for people: a table, some sentences, a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.learning.regrets import BUCKET, DECISIONS, SETTLED
from bench.learning.sections import SECTIONS
from bench.report.picture import COLOURS, drawing, literal
from bench.statistics import median
from services.planner.learning.budget import Limits
from stageline.tables import new_table

_DOTS_PER_INCH: Final = 110
_COLUMNS: Final = 5


def sections_table(found: Mapping[str, Any]) -> Table:
    """A row for each kind of worlds and policy."""
    table = new_table(
        f"Regret against the best plan of all, means over runs of {DECISIONS} decisions",
        "~worlds", "policy", ">exact alone", ">regret", f">last {SETTLED}", ">worst run", ">below 5 %", ">after",
        ">best offered", ">dearer than exact in a row", ">most behind exact",
    )  # fmt: skip
    for key, section in SECTIONS.items():
        for row in found[key]:
            table.add_row(
                section.title, row["policy"], f"{row['regret_of_exact']:.1%}", f"{row['regret']:.1%}",
                f"{row['regret_settled']:.1%}", f"{row['regret_settled_worst']:.1%}",
                f"{row['below_5_percent']} of {row['runs']}", after(row), f"{row['regret_of_best_offered']:.1%}",
                str(row["longest_dearer"]), f"{row['most_lost_to_exact']:.1f}",
            )  # fmt: skip
    return table


def after(row: Mapping[str, Any]) -> str:
    """The middle run's decisions until its regret stays below 5 %, and how many runs never came there."""
    reached = [one for one in row["decisions_until"] if one is not None]
    missed = len(row["decisions_until"]) - len(reached)
    if not reached:
        return "not reached"
    return f"{median(reached):.0f}" + (f", {missed} not reached" if missed else "")


def sentences() -> list[str]:
    """What the table's columns mean."""
    return [
        f'"After": decisions of the middle run from which on no {SETTLED} in a row have a mean regret of 5 % or more.',
        '"Dearer than exact in a row": the most decisions one after the other, in any run, that served what really '
        f'costs more than exact\'s plan. "Most behind": the most that any run had lost against exact, at any time, in '
        f"decisions of exact's plan; the budget allows {most_allowed(DECISIONS):g} as measured, and one trial beyond.",
    ]


def most_allowed(decisions: int) -> float:
    """What trials may cost in so many decisions, in decisions."""
    limits = Limits()
    return limits.cost_share * decisions + limits.cost_free


def draw_sections(path: Path, found: Mapping[str, Any]) -> None:
    """Regret over decisions above, what was lost to exact below, a column for each kind of worlds; as PNG."""
    keys = list(SECTIONS)
    rows = -(-len(keys) // _COLUMNS)
    drawn, every = drawing(2 * rows * _COLUMNS, width=15.0, height=4.6 * rows)
    drawn.clear()
    every = list(drawn.subplots(2 * rows, _COLUMNS, squeeze=False, sharex=True).flat)
    for number, key in enumerate(keys):
        at = 2 * _COLUMNS * (number // _COLUMNS) + number % _COLUMNS
        above, below = every[at], every[at + _COLUMNS]
        above.set_title(literal(SECTIONS[key].title), fontsize=7, loc="left")
        exact = found[key][0]["exact_curve"]
        above.plot([at for at, _ in exact], [100 * one for _, one in exact], color="#888", lw=1, ls="--", label="exact")
        for colour, row in zip(COLOURS, found[key], strict=False):
            xs = [at for at, _ in row["curve"]]
            above.plot(xs, [100 * one for _, one in row["curve"]], color=colour, lw=1.3, label=row["policy"])
            below.plot(xs, row["lost_to_exact_curve"], color=colour, lw=1.3)
        xs = list(range(BUCKET, DECISIONS + 1, BUCKET))
        below.plot(xs, [most_allowed(one) for one in xs], color="#b23a48", lw=0.8, ls=":")
        above.axhline(5, color="#bbb", lw=0.8, ls=":")
        above.set_ylim(bottom=0)
        above.tick_params(labelsize=7)
        below.tick_params(labelsize=7)
        if number % _COLUMNS == 0:
            above.set_ylabel("regret, %", fontsize=7)
            below.set_ylabel("behind exact, worst run", fontsize=7)
    for unused in every[2 * len(keys) :]:
        unused.set_visible(False)
    every[0].legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, format="png", dpi=_DOTS_PER_INCH)
