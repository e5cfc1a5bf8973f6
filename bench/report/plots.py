"""One plot per experiment, from results.json. None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from bench.figures import figure, fleet_of, rows
from bench.report.picture import COLOURS, drawing, grouped_bars, legend_above, lines, literal, logarithmic

Results = Mapping[str, Any]


def seed_table(results: Results) -> Figure | None:
    """Throughput and latency of six systems by model."""
    drawn, (fast, quick) = drawing(2, width=10.5, height=3.8)
    found = rows(results, "seed_table")
    some = grouped_bars(
        fast, found, group="model", series="system", value="throughput_rps", spread="throughput_spread"
    ) and grouped_bars(quick, found, group="model", series="system", value="latency_ms", spread="latency_spread")
    fast.set_ylabel("answers per second")
    quick.set_ylabel("ms, one request at a time")
    logarithmic(quick)
    legend_above(drawn, fast)
    return drawn if some else None


def headline(results: Results) -> Figure | None:
    """The changes that were measured beside those that AMP4EC published."""
    ways = results.get("headline")
    if not isinstance(ways, dict):
        return None
    compared = []
    for name, way in ways.items():
        if isinstance(way, dict):
            compared.append({"way": name.replace("_", " "), **way})
            if isinstance(way.get("best_threads"), dict):
                compared.append({"way": f"{name.replace('_', ' ')},\nbest threads", **way["best_threads"]})
    compared += [
        {
            "way": "AMP4EC,\nas published",
            "throughput_change_pct": row.get("amp4ec_throughput_change_pct"),
            "latency_change_pct": row.get("amp4ec_latency_change_pct"),
        }
        for row in compared
        if figure(row, "amp4ec_throughput_change_pct") is not None
    ]
    drawn, (fast, quick) = drawing(2, width=10.0)
    some = grouped_bars(fast, compared, group="way", series="", value="throughput_change_pct")
    some = grouped_bars(quick, compared, group="way", series="", value="latency_change_pct") or some
    fast.set_ylabel("throughput, change in %")
    quick.set_ylabel("latency, change in %")
    return drawn if some else None


def limit(results: Results) -> Figure | None:
    """Share of the bound, with the line at 0.9."""
    drawn, (axes,) = drawing()
    some = grouped_bars(
        axes, rows(results, "limit"), group="fleet", series="model", value="ratio", spread="ratio_spread"
    )
    axes.axhline(0.9, color="#333", lw=0.8, ls="--")
    axes.set_ylabel("throughput / bound")
    legend_above(drawn, axes)
    return drawn if some else None


def policies(results: Results) -> Figure | None:
    """Throughput and latency by policy, each divided by the best of its fleet and model: one point per case."""
    found = rows(results, "policies")
    names = list(dict.fromkeys(str(row.get("policy")) for row in found))
    drawn, panels = drawing(2, width=10.5, height=3.8)
    some = False
    for axes, key, best in zip(panels, ("throughput_rps", "latency_ms"), (max, min), strict=True):
        for number, name in enumerate(names):
            shares = _shares(found, name, key, best)
            axes.plot([number] * len(shares), shares, "o", ms=4, alpha=0.7, color=COLOURS[number % len(COLOURS)])
            some = some or bool(shares)
        axes.axhline(1, color="#333", lw=0.8, ls="--")
        axes.set_xticks(range(len(names)), [literal(name) for name in names], rotation=40, ha="right")
    panels[0].set_ylabel("throughput / best")
    panels[1].set_ylabel("latency / best")
    logarithmic(panels[1])
    return drawn if some else None


def rows_side_by_side(results: Results) -> Figure | None:
    """Latency with rows shared and without, by model."""
    told = [
        {"model": row.get("model"), "plan": name, "latency_ms": row.get(value), "spread": row.get(around)}
        for row in rows(results, "rows")
        for name, value, around in (
            ("without", "without_ms", "without_spread"), ("rows side by side", "latency_ms", "latency_spread"),
        )
    ]  # fmt: skip
    drawn, (axes,) = drawing()
    some = grouped_bars(axes, told, group="model", series="plan", value="latency_ms", spread="spread")
    axes.set_ylabel("ms, one request at a time")
    logarithmic(axes)
    legend_above(drawn, axes)
    return drawn if some else None


def peers(results: Results) -> Figure | None:
    """Throughput of other systems and of the controls."""
    drawn, (axes,) = drawing(height=4.0)
    found = rows(results, "peers")
    some = grouped_bars(axes, found, group="name", series="model", value="throughput_rps", spread="throughput_spread")
    axes.set_ylabel("answers per second")
    legend_above(drawn, axes)
    return drawn if some else None


def memory_bound(results: Results) -> Figure | None:
    """How long each step took from the wish to the first answer."""
    steps = [
        {"step": step, "seconds": seconds, "plan": str(row.get("policy", ""))}
        for row in rows(results, "memory_bound")
        for step, seconds in (row["steps_s"].items() if isinstance(row.get("steps_s"), dict) else ())
    ]
    drawn, (axes,) = drawing(height=3.0)
    some = grouped_bars(axes, steps, group="step", series="plan", value="seconds")
    axes.set_ylabel("seconds until the first answer")
    legend_above(drawn, axes)
    return drawn if some else None


def codec(results: Results) -> Figure | None:
    """What a codec keeps against what it saves, one point per cut."""
    found = rows(results, "codec")
    drawn, (kept, slow) = drawing(2, width=10.0)
    for number, name in enumerate(dict.fromkeys(str(row.get("codec")) for row in found)):
        mine = [row for row in found if str(row.get("codec")) == name]
        for axes, key in ((kept, "top1_agreement"), (slow, "encode_ms")):
            points = [
                (share, value)
                for row in mine
                if (share := figure(row, "of_fp32")) is not None and (value := figure(row, key)) is not None
            ]
            if points:
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(*zip(*points, strict=True), "o", ms=4, alpha=0.8, label=literal(name), color=colour)
    for axes, label in ((kept, "first label kept, share of pictures"), (slow, "encoding one frame, ms")):
        axes.set_xlabel("bytes / bytes of fp32")
        axes.set_ylabel(label)
    legend_above(drawn, kept)
    return drawn if found else None


def planning(results: Results) -> Figure | None:
    """Time to plan, and gap to the bound, by size of the fleet."""
    found = [
        {**row, "wish": ", ".join(str(row[key]) for key in ("policy", "objective", "memory") if key in row)}
        for row in rows(results, "planning")
        if row.get("model") == rows(results, "planning")[0].get("model")
    ]
    drawn, (slow, wide) = drawing(2, width=10.0, height=3.8)
    some = lines(slow, found, along="devices", value="planning_ms", series="wish")
    lines(wide, found, along="devices", value="gap_pct", series="wish")
    for axes, label in ((slow, "planning, ms"), (wide, "gap to the bound, %")):
        axes.set_xscale("log")
        axes.set_xlabel("devices")
        axes.set_ylabel(label)
    logarithmic(slow)
    legend_above(drawn, slow)
    return drawn if some else None


def bus(results: Results) -> Figure | None:
    """What the broker carries as more submitters ask, and how busy it is."""
    found = [
        {**row, "frames": f"{size / 1000:g} KB"}
        for row in rows(results, "bus")
        if (size := figure(row, "payload_bytes")) is not None
    ]
    shown = {
        "messages_per_s": "messages per second",
        "mbytes_per_s": "MB per second",
        "broker_core_pct": "broker, % of a core",
    }
    drawn, panels = drawing(len(shown), width=10.5)
    some = False
    for axes, (key, label) in zip(panels, shown.items(), strict=True):
        some = lines(axes, found, along="submitters", value=key, series="frames") or some
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("submitters")
        axes.set_ylabel(label)
    legend_above(drawn, panels[0])
    return drawn if some else None


def overhead(results: Results) -> Figure | None:
    """Who used how much CPU while the line was flat out."""
    found = results.get("overhead")
    used = found.get("cpu_s") if isinstance(found, dict) else None
    if not isinstance(used, dict):
        return None
    parts = [{"who": name, "cpu_s": seconds} for name, seconds in used.items()]
    drawn, (axes,) = drawing(height=3.0)
    some = grouped_bars(axes, parts, group="who", series="", value="cpu_s")
    axes.set_ylabel("CPU seconds")
    return drawn if some else None


def _shares(found: Sequence[Mapping[str, Any]], policy: str, key: str, best: Any) -> list[float]:
    shares = []
    for row in found:
        value = figure(row, key)
        if str(row.get("policy")) != policy or value is None:
            continue
        case = (fleet_of(row), row.get("model"))
        rivals = [figure(one, key) for one in found if (fleet_of(one), one.get("model")) == case]
        top = best(rival for rival in rivals if rival is not None)
        if top:
            shares.append(value / top)
    return shares
