"""What a run on a real line came to: figures for JSON, a table, a picture."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, Final

from rich.table import Table

from bench.learning.live import LiveRun, thirds
from bench.report.picture import COLOURS, drawing, legend_above
from bench.statistics import median
from stageline.tables import new_table

_DOTS_PER_INCH: Final = 110


def live_data(run: LiveRun) -> dict[str, Any]:
    """For JSON. Regret is by rounds: the mean latency over that of who knows in the same round, less one; shares."""
    means = {name: [fmean(turn) for turn in turns.latencies_ms] for name, turns in run.turns.items()}
    found: dict[str, Any] = {
        "device": run.device, "believed_mbps": run.believed_mbps, "slowed_mbps": run.slowed_mbps,
        "probes_mbps": [round(one, 1) for one in run.probes_mbps], "connected_anew": run.connected_anew,
        "noticed_s": run.noticed_s, "noticed_plan": run.noticed_plan, "learning": run.learning,
        "unshaped": list(run.unshaped), "contenders": {},
    }  # fmt: skip
    for name, turns in run.turns.items():
        regrets = [mine / best - 1 for mine, best in zip(means[name], means["knows"], strict=True)]
        every, last = thirds(turns)
        third = max(1, len(regrets) // 3)
        found["contenders"][name] = {
            "requests": len(every), "p50_ms": median(every), "mean_ms": fmean(every),
            "p50_last_third_ms": median(last), "mean_last_third_ms": fmean(last),
            "regret": fmean(regrets), "regret_last_third": fmean(regrets[-third:]), "regret_by_round": regrets,
            "plans": turns.plans,
        }  # fmt: skip
    return found


def live_table(data: dict[str, Any]) -> Table:
    """The three that took turns."""
    table = new_table(
        f"{data['device']}'s frames get {data['slowed_mbps']:g} of {data['believed_mbps']:g} Mbit/s, unseen by probes",
        "deployment", ">requests", ">p50 ms", ">mean ms", ">last third, p50", ">mean", ">regret", ">last third",
        "~plan at the end",
    )  # fmt: skip
    for name, row in data["contenders"].items():
        table.add_row(
            name, str(row["requests"]),
            *(f"{row[key]:.0f}" for key in ("p50_ms", "mean_ms", "p50_last_third_ms", "mean_last_third_ms")),
            f"{row['regret']:.1%}", f"{row['regret_last_third']:.1%}", row["plans"][-1],
        )  # fmt: skip
    return table


def live_sentences(data: dict[str, Any]) -> list[str]:
    """What the probes said meanwhile, what was spent, and what happens once they see it."""
    probes, learning = data["probes_mbps"], data["learning"]
    noticed = data["noticed_s"]
    return [
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
    """Regret by rounds, as PNG."""
    drawn, [axes] = drawing(height=2.8)
    for colour, (name, row) in zip(COLOURS, data["contenders"].items(), strict=False):
        regrets = [100 * one for one in row["regret_by_round"]]
        axes.plot(range(1, len(regrets) + 1), regrets, "o-", ms=3, lw=1.2, color=colour, label=name)
    axes.axhline(5, color="#999", lw=0.8, ls=":")
    axes.set_xlabel("round")
    axes.set_ylabel("% above who knows")
    legend_above(drawn, axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, format="png", dpi=_DOTS_PER_INCH)
