"""The demo as people see it: what happens, in order, with tables; and as JSON for those who pipe it."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage, stage_memory_bytes
from schemas.deployment import Deployment
from schemas.model import ModelCard
from schemas.topics import ROOT
from services.planner.fleet import Fleet, read_fleet
from stageline.demo.fleet import DEVICES, House, house
from stageline.demo.memory import forcing_budget_bytes
from stageline.demo.phases import Phase, run_phase
from stageline.deploying import Rollout
from stageline.packaged_pictures import packaged_pictures

MODEL: Final = "efficientnet-lite0"
_BOOT_TIMEOUT_S: Final = 60.0
_MB: Final = 1_000_000


def main(json_path: Path | None = None, console: Console | None = None) -> int:
    """Run the demo. Returns the exit code: 0 when every request was answered and every answer was right."""
    out = console or Console()
    pictures = packaged_pictures()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="stageline-demo-") as name,
        house(Path(name), Path(name) / "library") as all_of_it,
    ):
        _introduce(out, all_of_it)
        card = _import(out, Library(Path(name) / "library"))
        phases = asyncio.run(_show(out, all_of_it, card, pictures, Path(name) / "library"))
    took_s = time.monotonic() - started
    good = all(_is_good(phase) for phase in phases)
    _conclude(out, phases, took_s, good=good)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(_report(phases, took_s), indent=2) + "\n", encoding="utf-8")
        out.print(f"What it saw is in {json_path}", highlight=False)
    return 0 if good else 1


async def _show(
    out: Console, all_of_it: House, card: ModelCard, pictures: tuple[Path, ...], library: Path
) -> list[Phase]:
    reference = load_stage(card, Library(library).blobs, 0, len(card.blocks))
    try:
        async with Bus(all_of_it.broker.url, name="demo") as bus:
            with _progress(out) as progress:
                fleet = await _gather(bus, all_of_it, progress)
            out.print(_devices(fleet, all_of_it))
            phases = []
            for name, why, wish in _wishes(card):
                out.rule(f"[bold]{name}[/bold]: {why}", align="left")
                with _progress(out) as progress:
                    phase = await run_phase(
                        bus,
                        name,
                        wish,
                        pictures,
                        reference,
                        deploying=_deploying(progress, all_of_it),
                        requests=_requests(progress),
                    )
                _show_phase(out, phase)
                phases.append(phase)
            return phases
    finally:
        reference.close()


def _wishes(card: ModelCard) -> Iterator[tuple[str, str, Deployment]]:
    """The three phases: name, what it shows, what is asked for."""
    plain = Deployment(deployment="demo", model=card.name)
    yield "latency", "the quickest answer to one request", plain.model_copy(update={"objective": "latency"})
    yield "throughput", "the most answers per second", plain.model_copy(update={"objective": "throughput"})
    budget = forcing_budget_bytes(card, len(DEVICES))
    need = stage_memory_bytes(card, 0, len(card.blocks))
    yield (
        "memory",
        f"the model needs {need / _MB:.1f} MB in one piece, and each device now lends {budget / _MB:.1f} MB",
        plain.model_copy(update={"objective": "latency", "memory_limit_bytes": dict.fromkeys(DEVICES, budget)}),
    )


# --- what is shown ---------------------------------------------------------------------------------------------------


def _introduce(out: Console, all_of_it: House) -> None:
    methods = ", ".join(sorted({device.method for device in all_of_it.devices}))
    out.print(
        f"[bold]Stageline[/bold]: one model, three unequal devices on this machine ({methods}), each with its own "
        f"monitor and worker process, a planner, and a private mosquitto at {all_of_it.broker.url}.",
        highlight=False,
    )
    out.print(
        f"Watch everything that happens:  [bold]mosquitto_sub -p {all_of_it.broker.port} -v -t 'stageline/#' "
        f"-T '{ROOT}/stage/#' -T '{ROOT}/answer/#'[/bold]\n",
        highlight=False,
        soft_wrap=True,
    )


def _import(out: Console, library: Library) -> ModelCard:
    with _progress(out) as progress:
        task = progress.add_task(f"importing {MODEL}", total=1.0)
        started = time.monotonic()
        card = import_model(
            MODEL,
            library,
            progress=lambda text, share: progress.update(
                task, description=f"importing {MODEL}: {text}", completed=share
            ),
        )
        progress.update(task, completed=1.0)
    out.print(
        f"{card.name}: {len(card.blocks)} blocks, {len(card.cuts) - 2} cut points, {card.macs / 1e6:.0f} M "
        f"multiply-accumulates, {card.weight_bytes / _MB:.1f} MB of weights, imported in "
        f"{time.monotonic() - started:.1f} s\n",
        highlight=False,
    )
    return card


async def _gather(bus: Bus, all_of_it: House, progress: Progress) -> Fleet:
    """Wait until every device has said what it is and how far away."""
    task = progress.add_task("devices joining", total=len(DEVICES))
    async with asyncio.timeout(_BOOT_TIMEOUT_S):
        while len((fleet := await read_fleet(bus)).usable) < len(DEVICES):
            all_of_it.check()
            progress.update(task, completed=len(fleet.usable))
            await asyncio.sleep(0.2)
    progress.update(task, completed=len(DEVICES))
    return fleet


def _devices(fleet: Fleet, all_of_it: House) -> Table:
    table = Table(title="devices and their links to the broker", title_justify="left")
    for heading in ("device", "cores", "memory", "power idle/busy", "round trip", "up", "down"):
        table.add_column(heading, justify="left" if heading == "device" else "right")
    for emulated in all_of_it.devices:
        device = fleet.usable[emulated.name]
        if device.info is None or device.link is None:
            continue
        power = device.info.power
        table.add_row(
            emulated.name,
            f"{device.capacity_cores:.2f}",
            f"{device.info.memory_bytes / 1e9:.1f} GB",
            f"{power.idle_w:.1f}/{power.busy_w:.1f} W {power.method}",
            f"{device.link.rtt_ms:.1f} ms",
            f"{device.link.up_mbps:.0f} Mbit/s",
            f"{device.link.down_mbps:.0f} Mbit/s",
        )
    return table


def _show_phase(out: Console, phase: Phase) -> None:
    predicted = phase.plan.predicted
    out.print(f"plan (generation {phase.plan.generation}, in {phase.decision.planning_ms:.0f} ms):", highlight=False)
    for index, route in enumerate(phase.plan.routes):
        out.print(f"  r{index}: {route}", highlight=False)
    out.print(f"why: {phase.decision.explanation}", highlight=False)
    table = Table()
    for heading in ("picture", "label", "probability", "off by", "latency", "route", "energy"):
        table.add_column(heading, justify="left" if heading in ("picture", "label", "route") else "right")
    for one in phase.seen:
        best = one.answer.top(1)[0]
        receipt = one.answer.receipt
        table.add_row(
            one.path.name,
            best.label,
            f"{best.probability:.2f}",
            f"{one.max_abs_error:.1e}",
            f"{receipt.latency_ms:.0f} ms",
            " -> ".join(f"{stage.device} {stage.compute_ms:.0f} ms" for stage in receipt.stages),
            receipt.energy_text,
        )
    out.print(table)
    if predicted is not None:
        checks = Table(title=f"{phase.submitted} requests: {phase.answered} answered, {phase.failed} failed, "
                       f"{phase.lost} lost, {phase.duplicates} twice", title_justify="left")  # fmt: skip
        for heading in ("", "predicted", "measured", "off by"):
            checks.add_column(heading, justify="left" if not heading else "right")
        rows = [
            ("latency, one at a time (median)", predicted.latency_ms, phase.p50_ms, "ms"),
            ("throughput, as fast as it takes them", predicted.throughput_rps, phase.throughput_rps, "/s"),
            *((f"stage {check.stage}", check.predicted_ms, check.measured_ms, "ms") for check in phase.stages),
        ]
        for text, expected, found, unit in rows:
            checks.add_row(text, f"{expected:.1f} {unit}", f"{found:.1f} {unit}", f"{_off(expected, found):+.0%}")
        out.print(checks)
    out.print()


def _conclude(out: Console, phases: list[Phase], took_s: float, *, good: bool) -> None:
    off = [abs(_off(check.predicted_ms, check.measured_ms)) for phase in phases for check in phase.stages]
    submitted = sum(phase.submitted for phase in phases)
    answered = sum(phase.answered for phase in phases)
    out.rule(align="left")
    verdict = "all equal to the unsplit model's" if good else "[red]NOT all right, see above[/red]"
    out.print(
        f"{submitted} requests, {answered} answers, {verdict}; stage times predicted within "
        f"{median(off):.0%} (median); {took_s:.0f} s in all.",
        highlight=False,
    )


def _is_good(phase: Phase) -> bool:
    whole = phase.submitted == phase.answered and not phase.lost and not phase.duplicates
    return whole and all(one.max_abs_error < 1e-4 for one in phase.seen)


def _report(phases: list[Phase], took_s: float) -> dict[str, object]:
    return {
        "devices": [{"name": name, "cores": cores} for name, cores in DEVICES.items()],
        "phases": [phase.as_dict() for phase in phases],
        "took_s": round(took_s, 1),
    }


def _off(predicted: float, measured: float) -> float:
    return (predicted - measured) / measured if measured else 0.0


# --- progress --------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(out: Console) -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        yield progress


def _deploying(progress: Progress, all_of_it: House) -> Callable[[Rollout], None]:
    tasks: dict[str, TaskID] = {}

    def tell(rollout: Rollout) -> None:
        all_of_it.check()
        state = rollout.decision.state if rollout.decision else "waiting for the planner"
        if "plan" not in tasks:
            tasks["plan"] = progress.add_task("", total=1)
        progress.update(tasks["plan"], description=f"plan: {state}", completed=float(state == "serving"))
        for device, (done, what) in rollout.devices.items():
            if device not in tasks:
                tasks[device] = progress.add_task("", total=1)
            progress.update(tasks[device], description=f"{device}: {what}", completed=done)

    return tell


def _requests(progress: Progress) -> Callable[[int, int], None]:
    tasks: list[TaskID] = []

    def tell(done: int, total: int) -> None:
        if not tasks:
            for task in progress.task_ids:
                progress.update(task, visible=False)
            tasks.append(progress.add_task("requests", total=total))
        progress.update(tasks[0], completed=done)

    return tell
