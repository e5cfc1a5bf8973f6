"""What a device says of itself: that it is there, what it is, how it is doing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import (
    BootId,
    Bytes,
    Cores,
    Count,
    Fraction,
    Many,
    Mbps,
    Message,
    Milliseconds,
    Name,
    NonNegative,
    Text,
    Watts,
)


class DeviceStatus(Message):
    """Birth, death and last will of a device's monitor.

    `boot_id` tells one life of the device from the next, so that a will that arrives late
    cannot bury a device that has already come back.
    """

    device: Name
    boot_id: BootId
    online: bool
    reason: Text = ""


class Accelerator(Message):
    """A compute unit beside the CPU."""

    kind: Literal["none", "cuda", "tensorrt", "other"] = "none"
    name: Text = ""
    memory_bytes: Bytes = 0


class PowerModel(Message):
    """Watts when idle and when all of the capacity is busy; `source` names where they are from."""

    idle_w: Watts
    busy_w: Watts
    method: Literal["measured", "modelled"]
    source: Text


class DeviceInfo(Message):
    """What does not change while a device is up: the size of the machine and what is installed."""

    device: Name
    boot_id: BootId
    hostname: Text
    machine: Text
    architecture: Text
    cores: Annotated[int, Field(ge=1, le=4096)]
    capacity_cores: Cores
    """Cores this device may really use: the least of its cores, affinity and cgroup quota."""
    quota_period_ms: Milliseconds = 0.0
    """How often a CPU quota is renewed; 0 where none limits. Work shorter than a period's share is not slowed down."""
    memory_bytes: Bytes
    """Memory it may really use: the least of the machine's and the cgroup's limit."""
    accelerator: Accelerator = Accelerator()
    versions: dict[Annotated[str, Field(max_length=64)], Text] = Field(default_factory=dict)
    power: PowerModel


class LinkMeasure(Message):
    """One device's way to the broker and back, measured through the broker itself."""

    rtt_ms: Milliseconds
    """Round trip of a small echo: device -> broker -> device."""
    up_mbps: Mbps
    down_mbps: Mbps
    probe_bytes: Count
    age_s: NonNegative


class Power(Message):
    """Watts now; `source` is the sensor (measured) or the formula (modelled)."""

    watts: Watts
    method: Literal["measured", "modelled"]
    source: Text


class Throttling(Message):
    """Raspberry Pi firmware flags, now and since boot (`vcgencmd get_throttled`)."""

    under_voltage: bool = False
    frequency_capped: bool = False
    throttled: bool = False
    soft_temperature_limit: bool = False
    since_boot: Many[Literal["under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"]] = ()


class Telemetry(Message):
    """How a device is doing now; published about once a second."""

    device: Name
    boot_id: BootId
    sequence: Count
    unix_time: NonNegative
    load: Fraction
    """Busy share of `capacity_cores`, by everything on the device, stages included."""
    capacity_cores: Cores
    memory_free_bytes: Bytes
    memory_bytes: Bytes
    temperature_c: Annotated[float, Field(ge=-100, le=300)] | None = None
    throttling: Throttling | None = None
    power: Power
    link: LinkMeasure | None = None
    monitor_cpu: NonNegative = 0.0
    """Share of one core that the monitor itself uses."""
    rejected: dict[Annotated[str, Field(max_length=64)], Count] = Field(default_factory=dict)


class Profile(Message):
    """Measured cost of every block of one model on one device.

    Blocks run with made-up weights of the right shapes, so profiling moves no weight over the network.
    """

    device: Name
    boot_id: BootId
    model: Name
    card_sha: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    backend: Literal["onnxruntime", "torch"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    block_ms: Annotated[Many[Milliseconds], Field(min_length=1, max_length=4096)]
    """Wall time of each block at sustained load under this device's quota, batch 1, ms."""
    stage_overhead_ms: Milliseconds = 0.0
    """What a stage costs beyond its blocks, however many they are: its session's start and end, ms."""
    rest_ratio: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Processor time of a run that finds the device at rest, relative to one at sustained load."""
    frame_ms: Milliseconds
    """Fixed cost of taking one frame in and sending one out (decode, dispatch, encode), ms."""
    frame_ms_per_mb: Milliseconds
    """Cost of each megabyte (10^6 bytes) of frame taken in plus sent out, ms: 1 MB in and 1 MB out cost it twice."""
    rounds: Annotated[int, Field(ge=1)]
    capacity_cores: Cores


class Command(Message):
    """What the planner asks of a worker."""

    kind: Literal["profile", "probe"]
    """profile: the worker measures a model's blocks. probe: the monitor measures its link now, before its time."""
    model: Name = "none"
    """To profile; a probe needs none."""


class Duty(Message):
    """What people want of a device; retained. Without one it serves.

    `drain`: no new plan uses it, and plans that do are replaced; it goes on answering until then.
    """

    device: Name
    duty: Literal["serve", "drain"]
    since: NonNegative = 0.0
    """Unix time."""
    reason: Text = ""


class Claim(Message):
    """A newcomer asks whether a device name is taken; a living holder answers by publishing its state again."""

    device: Name
    boot_id: BootId
    role: Literal["monitor", "worker"]
    hostname: Text
