"""What a replay found: decisions that would have been made, beside those that were, and what each gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

from schemas.plan import Prediction
from stageline.tables import new_table


@dataclass(frozen=True, slots=True)
class Row:
    """One decision: what would have been (`replayed`), or what was (`served`)."""

    at_s: float
    deployment: str
    who: Literal["replayed", "served"]
    plan: str
    """Empty when there was none."""
    why: str
    predicted: Prediction | None = None
    gain: float | None = None
    """Share of the objective of the plan before that this one saves."""
    moved_bytes: int = 0


@dataclass(slots=True)
class Tally:
    """Of one deployment over the recording: means of what was predicted each second, and what submitters saw."""

    objective: str
    replayed: list[Prediction] = field(default_factory=list)
    served: list[Prediction] = field(default_factory=list)
    """The real plans, predicted on the same facts in the same seconds."""
    moves: int = 0
    """Plans after the first that would have been made,"""
    served_moves: int = 0
    """and that were."""
    answers: int = 0
    answer_ms: float = 0.0
    """Sum over answers of the medians that submitters reported,"""
    seen_s: float = 0.0
    """and over how long, as one submitter counts."""

    @property
    def measured_latency_ms(self) -> float | None:
        """Mean latency as submitters saw it; None when none said."""
        return self.answer_ms / self.answers if self.answers else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a replay found."""

    rows: tuple[Row, ...]
    tallies: Mapping[str, Tally]
    seconds: float
    messages: int


def show(out: Console, outcome: Outcome, *, policy: str) -> None:
    """Both stories in one table, and what each gave, for people."""
    table = new_table(
        "What would have been decided, and what was", ">s", "deployment", "by", ">ms", ">/s", "~plan", "~why", keys=3
    )
    for row in outcome.rows:
        latency = f"{row.predicted.latency_ms:.1f}" if row.predicted else "-"
        rate = f"{row.predicted.throughput_rps:.1f}" if row.predicted else "-"
        saves = f" (saves {row.gain:.0%}, moves {row.moved_bytes / 1e6:.1f} MB)" if row.gain is not None else ""
        by = policy if row.who == "replayed" else "[dim]really[/dim]"
        table.add_row(
            f"{row.at_s:.1f}", row.deployment, by, latency, rate, escape(row.plan or "none"), escape(row.why + saves)
        )
    out.print(table)
    sums = new_table(
        "Means over the recording", "deployment", "by", ">re-plans", ">ms", ">/s", ">J", "~measured", keys=2
    )
    for name, tally in sorted(outcome.tallies.items()):
        seen = tally.measured_latency_ms
        said = "" if seen is None else f"{seen:.1f} ms over {tally.answers} answers"
        sums.add_row(name, policy, str(tally.moves), *_figures(tally.replayed), "")
        sums.add_row("", "[dim]really[/dim]", str(tally.served_moves), *_figures(tally.served), said)
    out.print(sums)
    out.print("Times and rates are predictions, of both from the same facts in the same seconds.", style="dim")


def _figures(predictions: Sequence[Prediction]) -> tuple[str, str, str]:
    mean = means(predictions)
    if mean is None:
        return "-", "-", "-"
    return f"{mean['latency_ms']:.1f}", f"{mean['throughput_rps']:.1f}", f"{mean['energy_j']:.3g}"


def document(outcome: Outcome) -> dict[str, Any]:
    """A replay as JSON."""
    return {
        "seconds": round(outcome.seconds, 3),
        "messages": outcome.messages,
        "rows": [
            {
                "at_s": round(row.at_s, 3), "deployment": row.deployment, "who": row.who, "plan": row.plan,
                "why": row.why, "predicted": row.predicted.model_dump(mode="json") if row.predicted else None,
                "gain": row.gain, "moved_bytes": row.moved_bytes,
            }
            for row in outcome.rows
        ],
        "deployments": {
            name: {
                "objective": tally.objective,
                "replans": tally.moves,
                "served_replans": tally.served_moves,
                "replayed": means(tally.replayed),
                "served": means(tally.served),
                "answers": tally.answers,
                "measured_latency_ms": tally.measured_latency_ms,
            }
            for name, tally in outcome.tallies.items()
        },
    }  # fmt: skip


def means(predictions: Sequence[Prediction]) -> dict[str, float] | None:
    """Over the seconds; None when there were none."""
    if not predictions:
        return None
    count = len(predictions)
    return {
        "latency_ms": sum(one.latency_ms for one in predictions) / count,
        "throughput_rps": sum(one.throughput_rps for one in predictions) / count,
        "energy_j": sum(one.energy_j for one in predictions) / count,
    }
