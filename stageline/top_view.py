"""The fleet at a glance, for a terminal and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from schemas.accuracy import Compared
from schemas.device import Telemetry
from schemas.stages import HeldStage
from services.planner.device import Device
from stageline.tables import WIDE_COLUMNS, new_table
from stageline.top_picture import Picture

_ANY_WIDTH: Final = 1000
_Row = tuple[list[str], str]
"""Cells, and the style of the whole row."""


def render(picture: Picture, now_s: float, *, width: int = WIDE_COLUMNS, note: str = "") -> Group:
    """Tables of devices, stages and routes, and a line per deployment.

    Args:
        picture: what is known.
        now_s: local time.
        width: of the terminal; where it is narrow, the columns that matter least are left out.
        note: behind the first line.
    """
    online = picture.hub is not None and picture.hub.online
    planner = "[green]planner online[/green]" if online else "[red]no planner[/red]"
    lines = [_deployment(picture, name, now_s) for name in picture.deployments]
    head = "\n".join([f"{planner}   [dim]{note}[/dim]" if note else planner, *(lines or ["nothing is served"])])
    tables = [_devices(picture, now_s, width), _stages(picture, now_s, width)]
    routes = _routes(picture, width)
    if routes.row_count:
        tables.append(routes)
    return Group(head, *tables)


def document(picture: Picture, now_s: float) -> dict[str, Any]:
    """The same for JSON."""
    accuracies = {name: picture.accuracy(name) for name in sorted(picture.plans)}
    return {
        "planner_online": picture.hub is not None and picture.hub.online,
        "deployments": {name: _deployment_document(picture, name, now_s) for name in picture.deployments},
        "accuracy": {name: one.model_dump(mode="json") for name, one in accuracies.items() if one is not None},
        "devices": [_device_document(picture, device, now_s) for _, device in sorted(picture.fleet.devices.items())],
    }


def _deployment_document(picture: Picture, name: str, now_s: float) -> dict[str, Any]:
    plan, decision = picture.served(name), picture.decisions.get(name)
    return {
        "plan": str(plan) if plan is not None else None,
        "generation": plan.generation if plan is not None else None,
        "state": decision.state if decision is not None else "serving",
        "error": picture.error(name),
        "exits": [asdict(one) for one in picture.left(name, now_s)],
    }


def _device_document(picture: Picture, device: Device, now_s: float) -> dict[str, Any]:
    timing = picture.timing(device.name, now_s)
    return {
        "device": device.name,
        "online": device.online,
        "state": picture.state(device, now_s)[0],
        "silent_s": picture.silent_s(device.name, now_s) if device.online else 0.0,
        "duty": device.duty.duty if device.duty else "serve",
        "monitored": not device.stale,
        "info": device.info.model_dump(mode="json") if device.info else None,
        "telemetry": device.telemetry.model_dump(mode="json") if device.telemetry else None,
        "stages": [stage.model_dump(mode="json") for stage in device.worker.stages] if device.worker else [],
        "timing": timing.model_dump(mode="json") if timing else None,
    }


def _deployment(picture: Picture, name: str, now_s: float) -> str:
    plan, accuracy, error = picture.served(name), picture.accuracy(name), escape(picture.error(name))
    if plan is None:
        return f"{name}: [red]no plan[/red]: {error}" if error else f"{name}: {picture.decisions[name].state}"
    line = f"{name}: generation {plan.generation}, {escape(str(plan))}"
    if error:
        line += f"   [yellow]what was asked for since was refused: {error}[/yellow]"
    if left := picture.left(name, now_s):
        line += f"   leave at {', '.join(escape(one.text) for one in left)}"
    if accuracy is not None and any(one.compute_ms.samples for one in accuracy.stages):
        line += f"   [dim]predictions off by {accuracy.error:.0%}[/dim]"
    return line


def _devices(picture: Picture, now_s: float, width: int) -> Table:
    headings = (
        "device", "state", ">cores", ">load", ">free MB", ">temp", ">power", ">rtt ms", ">up/down Mbit/s", ">queue",
        ">per s",
    )  # fmt: skip
    rows: list[_Row] = []
    for name, device in sorted(picture.fleet.devices.items()):
        timing = picture.timing(name, now_s)
        rate = sum(stage.frames for stage in timing.stages) / timing.period_s if timing and timing.period_s else None
        state, colour = picture.state(device, now_s)
        cells = [
            name,
            f"[{colour}]{escape(state)}[/{colour}]",
            f"{device.capacity_cores:.2g}" if device.capacity_cores else "-",
            *_telemetry(device.telemetry),
            str(timing.queue_depth) if timing else "-",
            f"{rate:.1f}" if rate is not None else "-",
        ]
        rows.append((cells, "" if device.online else "dim"))
    spare = (">up/down Mbit/s", ">free MB", ">temp", ">cores", ">rtt ms", ">power", ">queue", ">load", ">per s")
    return _fitting("Devices", headings, rows, spare, width)


def _telemetry(telemetry: Telemetry | None) -> list[str]:
    if telemetry is None:
        return ["-"] * 6
    link = telemetry.link
    return [
        f"{telemetry.load:.0%}",
        f"{telemetry.memory_free_bytes / 1e6:.0f}",
        f"{telemetry.temperature_c:.0f} °C" if telemetry.temperature_c is not None else "-",
        f"{telemetry.power.watts:.1f} W{'' if telemetry.power.method == 'measured' else ' ~'}",
        f"{link.rtt_ms:.1f}" if link else "-",
        f"{link.up_mbps:.0f}/{link.down_mbps:.0f}" if link else "-",
    ]


def _stages(picture: Picture, now_s: float, width: int) -> Table:
    headings = (
        "deployment", ">gen", "stage", "device", "blocks", "state", ">per s", ">wait ms", ">compute ms", ">codec ms",
        ">in/out kB", ">expected ms", ">took ms", ">off",
    )  # fmt: skip
    held = [
        (stage, name)
        for name, device in picture.fleet.devices.items()
        for stage in (device.worker.stages if device.worker else ())
    ]
    held.sort(key=lambda one: (one[0].deployment, one[0].generation, one[0].stage))
    rows: list[_Row] = [(_stage_cells(picture, stage, name, now_s), "") for stage, name in held]
    spare = (
        ">in/out kB", ">codec ms", ">wait ms", ">gen", "blocks", ">took ms", ">compute ms", ">expected ms", ">per s",
        ">off",
    )  # fmt: skip
    return _fitting("Stages (medians of the last period; ~ watts are modelled)", headings, rows, spare, width)


def _stage_cells(picture: Picture, held: HeldStage, device: str, now_s: float) -> list[str]:
    state = f"{held.state} {held.progress:.0%}" if held.state == "loading" else held.state
    timing, times = picture.timing(device, now_s), picture.stage_timing(device, held, now_s)
    figures = ["-"] * 5
    if timing is not None and times is not None and timing.period_s:
        figures = [
            f"{times.frames / timing.period_s:.1f}",
            f"{times.wait_ms:.1f}",
            f"{times.compute_ms:.1f}",
            f"{times.codec_ms:.1f}",
            f"{times.bytes_in / 1000:.0f}/{times.bytes_out / 1000:.0f}",
        ]
    accuracy = picture.stage_accuracy(held)
    return [
        held.deployment,
        str(held.generation),
        held.stage,
        device,
        f"[{held.first}:{held.last})",
        escape(f"{state} {held.error}".strip()),
        *figures,
        *_compared(accuracy.compute_ms if accuracy else None),
    ]


def _routes(picture: Picture, width: int) -> Table:
    headings = (
        "deployment", ">gen", "route", ">expected ms", ">took ms", ">off", ">at most per s", ">per s", "~devices",
    )  # fmt: skip
    rows: list[_Row] = []
    for name, plan in sorted(picture.plans.items()):
        accuracy = picture.accuracy(name)
        for one in accuracy.routes if accuracy else ():
            devices = plan.routes[one.route].devices if one.route < len(plan.routes) else ()
            rate = one.throughput_rps
            cells = [
                name,
                str(plan.generation),
                f"r{one.route}",
                *_compared(one.latency_ms),
                f"{rate.predicted:.1f}",
                f"{rate.measured:.1f}" if rate.samples else "-",
                ", ".join(devices),
            ]
            rows.append((cells, ""))
    spare = ("~devices", ">gen", ">at most per s", ">per s", ">expected ms", ">took ms")
    return _fitting(
        "Routes (latency as submitters see it, running average; expected: of one request alone)",
        headings,
        rows,
        spare,
        width,
    )


def _compared(figure: Compared | None) -> list[str]:
    """Predicted, measured, and by how much it is off."""
    if figure is None:
        return ["-"] * 3
    if not figure.samples:
        return [f"{figure.predicted:.1f}", "-", "-"]
    off = f"{figure.measured / figure.predicted - 1:+.0%}" if figure.predicted else "-"
    return [f"{figure.predicted:.1f}", f"{figure.measured:.1f}", off]


def _fitting(title: str, headings: Sequence[str], rows: Sequence[_Row], spare: Sequence[str], width: int) -> Table:
    """A table no wider than that; `spare` are the headings to do without, least important first."""
    measure = Console(width=_ANY_WIDTH).measure
    left_out: set[str] = set()
    for next_out in (*spare, None):
        kept = [index for index, heading in enumerate(headings) if heading not in left_out]
        table = new_table(title, *(headings[index] for index in kept))
        for cells, style in rows:
            table.add_row(*(cells[index] for index in kept), style=style)
        if next_out is None or measure(table).maximum <= width:
            break
        left_out.add(next_out)
    return table
