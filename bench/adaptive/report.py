"""What is kept of all runs, as JSON, and what is shown of it, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from bench.adaptive.contenders import CONTENDERS
from bench.adaptive.figures import over_time, verdict
from bench.adaptive.loads import RATE_RPS
from bench.adaptive.measure import Run
from bench.adaptive.picture import BIN_S
from bench.adaptive.trace import as_data
from bench.machine import machine, versions
from stageline.tables import new_table

_LOADS: Final = {"paced": f"{RATE_RPS:g} requests per second", "flat-out": "as many as the line takes"}


def document(runs: Sequence[Run], *, seed: int, quick: bool) -> dict[str, Any]:
    """results.json: on what, which trace, and per load every contender's figures and the verdict."""
    loads: dict[str, dict[str, Any]] = {}
    for run in runs:
        loads.setdefault(run.load, {"contenders": {}})["contenders"][run.contender] = run.figures
    for load in loads.values():
        load["verdict"] = verdict(load["contenders"])
    return {
        "meta": {"machine": machine(), "versions": versions(), "mode": "quick" if quick else "full"},
        "seed": seed,
        "seconds": runs[0].seconds if runs else 0.0,
        "trace": as_data(runs[0].trace) if runs else [],
        "contenders": {one.name: one.about for one in CONTENDERS},
        "loads": loads,
    }


def curves(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By load and contender, for the picture."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in runs:
        found.setdefault(run.load, {})[run.contender] = over_time(run.asked, run.seconds, BIN_S)
    return found


def table(load: str, part: Mapping[str, Any]) -> Table:
    """One load's contenders."""
    made = new_table(
        f"{load} load: {_LOADS[load]}", "contender", ">p50 ms", ">p95 ms", ">p99 ms", ">per s", ">J per answer",
        ">asked", ">failed", ">lost", ">wrong", ">changes of plan", ">machine's load",
    )  # fmt: skip
    for name, found in part["contenders"].items():
        made.add_row(
            name, *(_number(found[key]) for key in ("p50_ms", "p95_ms", "p99_ms", "throughput_rps")),
            f"{_number(found['energy_j'], 3)} {found['energy_method']}",
            str(found["submitted"]), str(sum(found["failed"].values())), str(found["lost"]), str(found["wrong"]),
            str(found["changes_of_plan"]), " to ".join(f"{load:.1f}" for load in found["machine_load"]),
        )  # fmt: skip
    return made


def sentence(load: str, said: Mapping[str, Any] | None) -> str:
    """The verdict on one load, in words."""
    if said is None:
        return f"{load}: no verdict, since one side was not measured"
    return (
        f"{load}: adapting has {said['p95_gain']:+.0%} lower p95 latency than {said['p95_against']} and "
        f"{said['throughput_gain']:+.0%} throughput of {said['throughput_against']}; wanted was {said['wanted']:.0%} "
        f"of either: {'reached' if said['reached'] else 'not reached'}"
        f"{'' if said['sound'] else ', but not everything was answered, or right'}"
    )


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
