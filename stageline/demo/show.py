"""The demo, in order: start everything, import, look at the devices, then three plans of the same model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from broker.bus import Bus
from broker.embedded import FOLDER_PREFIX
from broker.folders import sweep_folders, temporary_folder
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage, stage_memory_bytes
from schemas.deployment import Deployment
from schemas.model import ModelCard
from services.planner.fleet import Fleet, read_fleet
from stageline.demo.fleet import DEVICES, house
from stageline.demo.memory import forcing_budget_bytes
from stageline.demo.phases import Amount, Phase, run_phase
from stageline.demo.progress import PhaseBars, bars
from stageline.demo.tables import answers_table, checks_table, devices_table, off
from stageline.emulation.house import House
from stageline.packaged_pictures import packaged_pictures
from stageline.watch_line import watch_line

MODEL: Final = "efficientnet-lite0"
_BOOT_TIMEOUT_S: Final = 60.0
_MB: Final = 1_000_000
_FOLDER_PREFIX: Final = "stageline-demo"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo saw."""

    phases: tuple[Phase, ...]
    took_s: float

    @property
    def good(self) -> bool:
        """Every request answered once, every answer right."""
        return all(phase.good for phase in self.phases)

    @property
    def prediction_error(self) -> float:
        """Median relative error of predicted stage times."""
        return median(abs(off(one.predicted_ms, one.measured_ms)) for phase in self.phases for one in phase.stages)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "devices": [{"name": name, "cores": cores} for name, cores in DEVICES.items()],
            "phases": [phase.as_dict() for phase in self.phases],
            "stage_prediction_error": round(self.prediction_error, 3),
            "took_s": round(self.took_s, 1),
        }


def show(out: Console, err: Console, amount: Amount) -> Outcome:
    """Run the demo.

    Args:
        out: for what it has to say.
        err: for progress bars.
        amount: requests per phase.

    Raises:
        stageline.packaged_pictures.NoPicturesError: nothing to classify.
        stageline.emulation.house.ServiceEndedError: one of its processes ended by itself.
    """
    pictures = packaged_pictures()
    started = time.monotonic()
    sweep_folders(_FOLDER_PREFIX, FOLDER_PREFIX)
    with temporary_folder(_FOLDER_PREFIX) as name:
        library = Library(Path(name) / "library")
        with house(Path(name), Path(name) / "library") as running:
            _introduce(out, running)
            card = _import(out, err, library)
            phases = asyncio.run(
                _phases(out, err, running, card=card, library=library, pictures=pictures, amount=amount)
            )
    outcome = Outcome(tuple(phases), time.monotonic() - started)
    _conclude(out, outcome)
    return outcome


async def _phases(
    out: Console,
    err: Console,
    running: House,
    *,
    card: ModelCard,
    library: Library,
    pictures: tuple[Path, ...],
    amount: Amount,
) -> list[Phase]:
    reference = load_stage(card, library.blobs, 0, len(card.blocks))
    phases = []
    try:
        async with Bus(running.broker.url, name="demo") as bus:
            out.print(devices_table(await _gather(bus, running, err), running))
            for name, why, wish in wishes(card):
                out.rule(f"[bold]{name}[/bold]: {why}", align="left")
                with bars(err) as progress:
                    shown = PhaseBars(progress, running.check)
                    phase = await run_phase(
                        bus, name, wish, pictures=pictures, reference=reference, shown=shown, amount=amount
                    )
                phases.append(phase)
                _show_phase(out, phase)
    finally:
        reference.close()
    return phases


def wishes(card: ModelCard) -> Iterator[tuple[str, str, Deployment]]:
    """The three phases: name, what it shows, what is asked for."""
    plain = Deployment(deployment="demo", model=card.name)
    yield "latency", "the quickest answer to one request", plain.model_copy(update={"objective": "latency"})
    yield "throughput", "the most answers per second", plain.model_copy(update={"objective": "throughput"})
    budget = forcing_budget_bytes(card, len(DEVICES))
    need = stage_memory_bytes(card, 0, len(card.blocks))
    yield (
        "memory",
        f"the whole model needs {need / _MB:.1f} MB, and each device now lends {budget / _MB:.1f} MB",
        plain.model_copy(update={"objective": "latency", "memory_limit_bytes": dict.fromkeys(DEVICES, budget)}),
    )


def _introduce(out: Console, running: House) -> None:
    methods = ", ".join(sorted({device.method for device in running.devices}))
    out.print(
        "[bold]Stageline[/bold]: one model, three unequal devices on this machine, each with its own monitor and "
        f"worker process; a planner; and a private mosquitto.\nThe devices are made unequal by: {methods}."
    )
    out.print(
        f"Watch everything that happens:  [bold]{watch_line(options=f'-p {running.broker.port}')}[/bold]\n",
        soft_wrap=True,
    )


def _import(out: Console, err: Console, library: Library) -> ModelCard:
    started = time.monotonic()
    with bars(err) as progress:
        task = progress.add_task(f"importing {MODEL}", total=1.0)

        def tell(what: str, share: float) -> None:
            progress.update(task, description=f"importing {MODEL}: {what}", completed=share)

        card = import_model(MODEL, library, progress=tell)
    out.print(
        f"{card.name}: {len(card.blocks)} blocks, {card.macs / 1e6:.0f} M multiply-accumulates, "
        f"{card.weight_bytes / _MB:.1f} MB of weights, imported in {time.monotonic() - started:.1f} s\n"
    )
    return card


async def _gather(bus: Bus, running: House, err: Console) -> Fleet:
    """Wait until every device has said what it is and how far away."""
    with bars(err) as progress:
        task = progress.add_task("devices joining", total=len(DEVICES))
        async with asyncio.timeout(_BOOT_TIMEOUT_S):
            while len((fleet := await read_fleet(bus)).usable) < len(DEVICES):
                running.check()
                progress.update(task, completed=len(fleet.usable))
                await asyncio.sleep(0.2)
    return fleet


def _show_phase(out: Console, phase: Phase) -> None:
    out.print(f"Plan of generation {phase.plan.generation}, made in {phase.decision.planning_ms:.0f} ms:")
    for index, route in enumerate(phase.plan.routes):
        out.print(f"  [bold cyan]r{index}: {route}[/bold cyan]", markup=True)
    out.print(f"[bold]Why:[/bold] {phase.decision.explanation}\n")
    out.print(answers_table(phase))
    out.print(checks_table(phase))


def _conclude(out: Console, outcome: Outcome) -> None:
    submitted = sum(phase.submitted for phase in outcome.phases)
    answered = sum(phase.answered for phase in outcome.phases)
    verdict = "every answer equal to the unsplit model's" if outcome.good else "[red]NOT all right: see above[/red]"
    out.rule(align="left")
    out.print(
        f"{submitted} requests, {answered} answers, {verdict}. Stage times were predicted within "
        f"{outcome.prediction_error:.0%} (median). {outcome.took_s:.0f} s in all."
    )
