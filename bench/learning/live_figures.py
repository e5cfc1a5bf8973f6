"""What a run on a real line came to: figures for JSON, a table, a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from rich.table import Table

from bench.learning.live import BIN_S, Answered, LiveRun
from bench.report.picture import COLOURS, drawing, legend_above
from bench.statistics import median
from stageline.tables import new_table

ANSWERS_LEAST: Final = 20
"""Of a plan, for its mean to count."""
_DOTS_PER_INCH: Final = 110


def live_data(run: LiveRun) -> dict[str, Any]:
    """For JSON. Regret is of mean latencies, against the best of all plans that were served; shares."""
    plans = {
        plan: fmean(answers)
        for plan, answers in _by_plan(one for turn in run.turns for one in turn.answers).items()
        if len(answers) >= ANSWERS_LEAST
    }
    best = min(plans, key=lambda plan: plans[plan])
    found: dict[str, Any] = {
        "device": run.device, "believed_mbps": run.believed_mbps, "slowed_mbps": run.slowed_mbps,
        "probes_mbps": [round(one, 1) for one in run.probes_mbps], "connected_anew": run.connected_anew,
        "noticed_s": run.noticed_s, "noticed_plan": run.noticed_plan, "learning": run.learning,
        "unshaped": list(run.unshaped), "plans_ms": plans, "best_plan": best, "turns": [],
    }  # fmt: skip
    for turn in run.turns:
        every = [one.ms for one in turn.answers]
        last = [one.ms for one in turn.answers if one.at_s >= 2 / 3 * turn.answers[-1].at_s]
        bins = _by_bin(turn.answers)
        found["turns"].append(
            {
                "name": turn.name, "answers": len(every), "p50_ms": median(every), "mean_ms": fmean(every),
                "p50_last_third_ms": median(last), "mean_last_third_ms": fmean(last),
                "regret": fmean(every) / plans[best] - 1, "regret_last_third": fmean(last) / plans[best] - 1,
                "bins_ms": [(at_s, fmean(values)) for at_s, values in bins.items()],
                "plans": {plan: len(values) for plan, values in _by_plan(turn.answers).items()},
                "plan": turn.answers[-1].plan,
            }
        )  # fmt: skip
    return found


def live_table(data: dict[str, Any]) -> Table:
    """Who served, one after the other."""
    table = new_table(
        f"{data['device']}'s frames get {data['slowed_mbps']:g} of {data['believed_mbps']:g} Mbit/s, unseen by probes",
        "serves", ">answers", ">p50 ms", ">mean ms", ">last third, p50", ">mean", ">regret", ">last third",
        "~plan at the end",
    )  # fmt: skip
    for row in data["turns"]:
        table.add_row(
            row["name"], str(row["answers"]),
            *(f"{row[key]:.0f}" for key in ("p50_ms", "mean_ms", "p50_last_third_ms", "mean_last_third_ms")),
            f"{row['regret']:.1%}", f"{row['regret_last_third']:.1%}", row["plan"],
        )  # fmt: skip
    return table


def live_sentences(data: dict[str, Any]) -> list[str]:
    """What the probes said meanwhile, what was spent, and what happens once they see it."""
    probes, learning, noticed = data["probes_mbps"], data["learning"], data["noticed_s"]
    return [
        f"Regret is against the best plan that was served, {data['best_plan']}: "
        f"{data['plans_ms'][data['best_plan']]:.0f} ms on average.",
        f"Meanwhile the monitor's probes told {min(probes):.0f} to {max(probes):.0f} Mbit/s."
        if probes
        else "Meanwhile the monitor told nothing of its link.",
        f"The bandit made {learning['decisions']} decisions, {learning['explored']} of them to learn, at an extra cost "
        f"of {learning['extra_cost']:.1%}; it is {learning['state']}.",
        f"Once the whole link was as slow, and probes saw it, exact moved to {data['noticed_plan']} after "
        f"{noticed:.0f} s."
        if noticed is not None
        else "Once the whole link was as slow, exact did not move within a minute and a half.",
    ]


def draw_live(path: Path, data: dict[str, Any]) -> None:
    """Mean latency over time, turn after turn, as PNG."""
    drawn, [axes] = drawing(height=2.8)
    names = list(dict.fromkeys(row["name"] for row in data["turns"]))
    began_s = 0.0
    for row in data["turns"]:
        colour = COLOURS[names.index(row["name"])]
        new = row["name"] not in {line.get_label() for line in axes.get_lines()}
        points = [(began_s + at_s + BIN_S / 2, ms) for at_s, ms in row["bins_ms"]]
        label = row["name"] if new else f"_{row['name']}"
        axes.plot(*zip(*points, strict=True), "o-", ms=3, lw=1.2, color=colour, label=label)
        began_s += row["bins_ms"][-1][0] + BIN_S
    axes.axhline(data["plans_ms"][data["best_plan"]], color="#999", lw=0.8, ls=":")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("ms, means")
    legend_above(drawn, axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, format="png", dpi=_DOTS_PER_INCH)


def _by_plan(answers: Iterable[Answered]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in answers:
        found.setdefault(one.plan, []).append(one.ms)
    return found


def _by_bin(answers: Iterable[Answered]) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for one in answers:
        found.setdefault(BIN_S * (one.at_s // BIN_S), []).append(one.ms)
    return found
