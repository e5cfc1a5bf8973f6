"""The fleet at a glance, for a terminal and as JSON. Pure: folded from what is on the bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from schemas.deployment import HubStatus
from schemas.device import Telemetry
from schemas.plan import Plan
from schemas.stages import HeldStage, StageTiming, Timing
from schemas.topics import (
    DEVICE_INFO,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TIMING,
    HUB_STATUS,
    PLAN_CURRENT,
    Topic,
)
from services.planner.device import Device
from services.planner.fleet import Fleet
from stageline.tables import WIDE_COLUMNS, new_table

TOP_TOPICS: Final[tuple[Topic[Any], ...]] = (
    DEVICE_STATUS, DEVICE_INFO, DEVICE_STAGES, DEVICE_TELEMETRY, HUB_STATUS, PLAN_CURRENT,
)  # fmt: skip
_STALE_PERIODS: Final = 3.0
_ANY_WIDTH: Final = 1000
_Row = tuple[list[str], str]
"""Cells, and the style of the whole row."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything `top` shows; `timings` with the local time at which each was heard, s."""

    fleet: Fleet = field(default_factory=Fleet)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    hub: HubStatus | None = None
    timings: Mapping[str, tuple[Timing, float]] = field(default_factory=dict)

    def with_message(
        self, topic: Topic[Any], parameters: Mapping[str, str], message: Any | None, *, retained: bool, now_s: float
    ) -> Picture:
        """The picture after one message (None: its topic was cleared)."""
        if topic is DEVICE_TIMING and message is not None:
            return replace(self, timings={**self.timings, message.device: (message, now_s)})
        if topic is HUB_STATUS:
            return replace(self, hub=message)
        if topic is PLAN_CURRENT:
            plans = {name: plan for name, plan in self.plans.items() if name != parameters["deployment"]}
            return replace(self, plans=plans if message is None else {**plans, message.deployment: message})
        return replace(self, fleet=self.fleet.with_message(topic, parameters, message, retained=retained))

    def timing(self, device: str, now_s: float) -> Timing | None:
        """What a worker said of its last period, while that is recent."""
        timing, heard_s = self.timings.get(device, (None, 0.0))
        return timing if timing and now_s - heard_s <= _STALE_PERIODS * max(1.0, timing.period_s) else None


def render(picture: Picture, now_s: float, *, width: int = WIDE_COLUMNS, note: str = "") -> Group:
    """Tables of devices and stages, and a line per deployment.

    Args:
        picture: what is known.
        now_s: local time.
        width: of the terminal; where it is narrow, the columns that matter least are left out.
        note: behind the first line.
    """
    online = picture.hub is not None and picture.hub.online
    planner = "[green]planner online[/green]" if online else "[red]no planner[/red]"
    lines = [
        f"{name}: generation {plan.generation}, {escape(str(plan))}" for name, plan in sorted(picture.plans.items())
    ]
    head = "\n".join([f"{planner}   [dim]{note}[/dim]" if note else planner, *(lines or ["nothing is served"])])
    return Group(head, _devices(picture, now_s, width), _stages(picture, now_s, width))


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


def document(picture: Picture, now_s: float) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "planner_online": picture.hub is not None and picture.hub.online,
        "deployments": {name: str(plan) for name, plan in sorted(picture.plans.items())},
        "devices": [_device_document(picture, device, now_s) for _, device in sorted(picture.fleet.devices.items())],
    }


def _device_document(picture: Picture, device: Device, now_s: float) -> dict[str, Any]:
    timing = picture.timing(device.name, now_s)
    return {
        "device": device.name,
        "online": device.worker is not None and device.worker.online,
        "monitored": not device.stale,
        "info": device.info.model_dump(mode="json") if device.info else None,
        "telemetry": device.telemetry.model_dump(mode="json") if device.telemetry else None,
        "stages": [stage.model_dump(mode="json") for stage in device.worker.stages] if device.worker else [],
        "timing": timing.model_dump(mode="json") if timing else None,
    }


def _devices(picture: Picture, now_s: float, width: int) -> Table:
    headings = (
        "device", "state", ">cores", ">load", ">free MB", ">temp", ">power", ">rtt ms", ">up/down Mbit/s", ">queue",
        ">per s",
    )  # fmt: skip
    rows: list[_Row] = []
    for name, device in sorted(picture.fleet.devices.items()):
        timing = picture.timing(name, now_s)
        rate = sum(stage.frames for stage in timing.stages) / timing.period_s if timing and timing.period_s else None
        cells = [
            name,
            _state(device),
            f"{device.capacity_cores:.2g}" if device.capacity_cores else "-",
            *_telemetry(device.telemetry),
            str(timing.queue_depth) if timing else "-",
            f"{rate:.1f}" if rate is not None else "-",
        ]
        rows.append((cells, "" if device.worker is not None and device.worker.online else "dim"))
    spare = (">up/down Mbit/s", ">free MB", ">temp", ">cores", ">rtt ms", ">power", ">queue", ">load")
    return _fitting("Devices", headings, rows, spare, width)


def _state(device: Device) -> str:
    if device.worker is None or not device.worker.online:
        return "[red]offline[/red]"
    if device.stale:
        return "[yellow]no monitor[/yellow]"
    throttling = device.telemetry.throttling if device.telemetry else None
    if throttling is not None and (throttling.throttled or throttling.under_voltage or throttling.frequency_capped):
        return "[yellow]throttled[/yellow]"
    return "[green]online[/green]" if device.usable else f"[yellow]{escape(device.absence)}[/yellow]"


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
        ">in/out kB",
    )  # fmt: skip
    shown: list[_Row] = []
    rows: list[tuple[HeldStage, str, StageTiming | None, float]] = []
    for name, device in picture.fleet.devices.items():
        timing = picture.timing(name, now_s)
        for held in device.worker.stages if device.worker else ():
            key = (held.deployment, held.generation, held.stage)
            times = next(
                (
                    one
                    for one in (timing.stages if timing else ())
                    if (one.deployment, one.generation, one.stage) == key
                ),
                None,
            )
            rows.append((held, name, times, timing.period_s if timing else 0.0))
    for held, name, times, period_s in sorted(
        rows, key=lambda row: (row[0].deployment, row[0].generation, row[0].stage)
    ):
        state = f"{held.state} {held.progress:.0%}" if held.state == "loading" else held.state
        figures = ["-"] * 5
        if times is not None and period_s:
            figures = [
                f"{times.frames / period_s:.1f}",
                f"{times.wait_ms:.1f}",
                f"{times.compute_ms:.1f}",
                f"{times.codec_ms:.1f}",
                f"{times.bytes_in / 1000:.0f}/{times.bytes_out / 1000:.0f}",
            ]
        cells = [
            held.deployment,
            str(held.generation),
            held.stage,
            name,
            f"[{held.first}:{held.last})",
            escape(f"{state} {held.error}".strip()),
            *figures,
        ]
        shown.append((cells, ""))
    spare = (">in/out kB", ">codec ms", ">wait ms", ">gen", "blocks", ">compute ms", ">per s")
    return _fitting("Stages (medians of the last period; ~ watts are modelled)", headings, shown, spare, width)
