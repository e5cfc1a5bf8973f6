"""A fleet file as the planner would know it, with nothing started: one thread is measured here, and scaled.

What is measured on this machine, now (`one_core`): every block of the model with made-up weights and what handling a
frame costs, both in processor time of one thread, and the way through a broker on this machine, which no link is
quicker than. What the file says: cores, memory, links, watts. What is assumed, as the emulated devices would have it: a
CPU quota renewed every 10 ms, `threads_for` compute threads that share the work evenly, and the worker's own rule for
the memory that it lends.
"""

from __future__ import annotations

import asyncio
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from models.library import Library
from models.profiling import ProfiledBlocks, profile_blocks
from schemas.device import DeviceInfo, LinkMeasure, PowerModel, Profile
from schemas.model import ModelCard
from services.capacity import capacity, threads_for
from services.monitor.power.model import TYPICAL
from services.monitor.probe import LinkProbe
from services.planner.facts import DeviceFacts
from services.worker.frame_cost import FrameCost, measure_frame_cost
from services.worker.line import Line
from services.worker.memory import default_budget_bytes
from services.worker.timing import Timings
from stageline.emulation.cgroups import PERIOD_US
from stageline.emulation.fleet_file import FleetDevice, FleetFile, FleetPower

Progress = Callable[[str, float], None]

SERVICES_BYTES: Final = 78_000_000
"""What monitor and worker of a device hold when the worker looks how much is free; measured in a memory group."""
ASSUMED_POWER: Final = FleetPower(idle_w=TYPICAL["pi-4"].idle_w, busy_w=TYPICAL["pi-4"].busy_w)
"""Of a device that the file gives no watts: a typical Raspberry Pi 4's."""
_NAME: Final = "paper-fleet"
_BLOCKS_SHARE: Final = 0.9
_LINK_PROBES: Final = 3


@dataclass(frozen=True)
class OneCore:
    """What one thread takes that has a core of this machine to itself."""

    blocks: ProfiledBlocks
    frame: FrameCost
    link: LinkMeasure
    """To a broker on this machine and back, unshaped."""
    max_packet_bytes: int
    """Largest packet that a broker with our configuration passes."""


def paper_fleet(
    card: ModelCard, library: Library, fleet: FleetFile, *, progress: Progress | None = None
) -> tuple[DeviceFacts, ...]:
    """Every device of the file, in its order, ready for `services.planner.cost.problem_from`; takes some seconds.

    Not from within an event loop (there: in a thread).

    Raises:
        broker.embedded.MosquittoMissingError: frame costs are measured through a real broker.
        models.runtime.checks.BackendError: ONNX Runtime cannot run a block.
        models.blobs.MissingBlobError, models.stage.BadGraphError: the library lacks the model's graph.
    """
    return on_paper(card, fleet, one_core(card, library, progress=progress))


def one_core(card: ModelCard, library: Library, *, progress: Progress | None = None) -> OneCore:
    """Measure; raises what `paper_fleet` does."""
    say = progress or (lambda _what, _share: None)
    say("measuring blocks", 0.0)
    blocks = profile_blocks(
        card,
        library.blobs,
        threads=1,
        accelerator="cpu",
        progress=lambda share: say("measuring blocks", _BLOCKS_SHARE * share),
    )
    say("measuring frames", _BLOCKS_SHARE)
    frame, link, max_packet_bytes = asyncio.run(_through_a_broker())
    say("measured", 1.0)
    return OneCore(blocks, frame, link, max_packet_bytes)


def on_paper(card: ModelCard, fleet: FleetFile, measured: OneCore) -> tuple[DeviceFacts, ...]:
    """The file's devices, from what one core of this machine does. Pure but for memory that the file does not limit."""
    return tuple(_facts(card, fleet, device, measured) for device in fleet.devices)


def _facts(card: ModelCard, fleet: FleetFile, device: FleetDevice, measured: OneCore) -> DeviceFacts:
    cores = fleet.cores_here(device)
    blocks = measured.blocks
    # Measured runs were as slow as this machine was busy; what they cost in processor time is what counts here.
    compute = 1 / blocks.slowdown / (cores if cores < 1 else threads_for(cores))
    handle = 1 / min(1.0, cores)  # frames are handled by one thread
    here = capacity()
    free = here.memory_free_bytes if device.memory_bytes is None else max(0, device.memory_bytes - SERVICES_BYTES)
    return DeviceFacts(
        info=DeviceInfo(
            device=device.name,
            boot_id=_NAME,
            hostname=device.name,
            machine=f"{device.cores:g} cores of {fleet.name}, on paper",
            architecture=platform.machine(),
            cores=max(1, math.ceil(cores)),
            capacity_cores=cores,
            quota_period_ms=PERIOD_US / 1000,
            memory_bytes=here.memory_bytes if device.memory_bytes is None else device.memory_bytes,
            power=_power(device, fleet),
        ),
        profile=Profile(
            device=device.name,
            boot_id=_NAME,
            model=card.name,
            card_sha=card.sha256,
            backend="onnxruntime",
            threads=threads_for(cores),
            block_ms=tuple(block * compute for block in blocks.block_ms),
            stage_overhead_ms=blocks.stage_overhead_ms * compute,
            rest_ratio=blocks.rest_ratio,
            frame_ms=measured.frame.frame_ms * handle,
            frame_ms_per_mb=measured.frame.frame_ms_per_mb * handle,
            rounds=blocks.rounds,
            capacity_cores=cores,
        ),
        link=_link(device, measured.link),
        memory_budget_bytes=default_budget_bytes(free),
        stage_overhead_ms=blocks.stage_overhead_ms * compute,
        max_packet_bytes=measured.max_packet_bytes,
    )


def _power(device: FleetDevice, fleet: FleetFile) -> PowerModel:
    said = device.power or ASSUMED_POWER
    source = f"fleet file {fleet.name}" if device.power else "assumed, a typical pi-4: the fleet file says no watts"
    return PowerModel(idle_w=said.idle_w, busy_w=said.busy_w, method="modelled", source=source)


def _link(device: FleetDevice, here: LinkMeasure) -> LinkMeasure:
    link = device.link
    if link is None:
        return here
    return here.model_copy(
        update={
            "rtt_ms": here.rtt_ms + 2 * link.delay_ms,
            "up_mbps": min(here.up_mbps, link.up_mbps),
            "down_mbps": min(here.down_mbps, link.down_mbps),
        }
    )


async def _through_a_broker() -> tuple[FrameCost, LinkMeasure, int]:
    with EmbeddedBroker() as broker:
        async with (
            Bus(broker.url, name=_NAME, receive_maximum=4) as bus,
            Line(bus, _NAME, Timings(_NAME, _NAME)) as line,
        ):
            cost = await measure_frame_cost(bus, line, device=_NAME, private=_NAME, capacity_cores=1.0)
            probe = LinkProbe(bus, device=_NAME, period_s=1.0)
            for _ in range(_LINK_PROBES):
                await probe.measure()
            link = probe.latest()
            if link is None:
                raise RuntimeError("a link was measured and is not known")
            return cost, link, bus.max_packet_bytes
