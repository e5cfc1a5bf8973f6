"""The planner's picture of the fleet: immutable, folded from what devices say of themselves.

    fleet = fleet.with_message(DEVICE_INFO, {"device": "pi4"}, info)

A device has two voices, its monitor (status, info, telemetry) and its worker (stages, profiles), each with its own
boot id. Messages of an earlier life are told from those of the present one, so that a late will cannot bury a device
that is already back. The same picture is read once from retained topics to plan on paper (`read_fleet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from broker.bus import Bus
from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Profile, Telemetry
from schemas.model import ModelCard
from schemas.stages import StagesHeld
from schemas.topics import (
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    MODEL_CARD,
    Topic,
)

FLEET_TOPICS: Final[tuple[Topic[Any], ...]] = (
    DEVICE_STATUS, DEVICE_INFO, DEVICE_TELEMETRY, DEVICE_PROFILE, DEVICE_STAGES, MODEL_CARD,
)  # fmt: skip

_LIVES_KEPT: Final = 16
_CAPACITY_TOLERANCE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Device:
    """All that one device has said; None where it has not said it yet."""

    name: str
    status: DeviceStatus | None = None
    info: DeviceInfo | None = None
    telemetry: Telemetry | None = None
    worker: StagesHeld | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    past_monitors: tuple[str, ...] = ()
    past_workers: tuple[str, ...] = ()
    doubted: bool = False
    """The broker's word for it is old: the worker has not spoken since the planner (re)connected."""

    @property
    def usable(self) -> bool:
        """May be planned with: its worker is there, and what it is and how it is linked are known."""
        return self.absence == ""

    @property
    def absence(self) -> str:
        """Why it may not be planned with; empty when it may."""
        if self.worker is None:
            return "no worker has joined (start stageline-worker there, or `stageline join`)"
        if not self.worker.online:
            return f"its worker is offline{f' ({self.worker.reason})' if self.worker.reason else ''}"
        if self.info is None:
            return "its monitor has not said what the device is (start stageline-monitor there)"
        if self.link is None:
            return "its monitor has not measured its link yet"
        return ""

    @property
    def link(self) -> LinkMeasure | None:
        """The last measured link to the broker."""
        return self.telemetry.link if self.telemetry else None

    @property
    def stale(self) -> bool:
        """The monitor is down: telemetry and link are its last words."""
        return self.status is None or not self.status.online

    @property
    def capacity_cores(self) -> float:
        """Cores it may use now; 0 when it has not said."""
        if self.telemetry is not None:
            return self.telemetry.capacity_cores
        return self.info.capacity_cores if self.info else 0.0

    def profile_of(self, model: str, card_sha: str) -> Profile | None:
        """Its measured block times of exactly this model as things are now, or None when it should measure again."""
        profile = self.profiles.get(model)
        if profile is None or self.worker is None or profile.card_sha != card_sha:
            return None
        if (profile.backend, profile.threads) != (self.worker.backend, self.worker.threads):
            return None
        if abs(profile.capacity_cores - self.capacity_cores) > _CAPACITY_TOLERANCE * self.capacity_cores:
            return None
        return profile


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every device and every model that is known of."""

    devices: Mapping[str, Device] = field(default_factory=dict)
    cards: Mapping[str, ModelCard] = field(default_factory=dict)

    @property
    def usable(self) -> dict[str, Device]:
        """The devices that may be planned with, by name, in order of name."""
        return {name: device for name, device in sorted(self.devices.items()) if device.usable}

    @property
    def doubted(self) -> frozenset[str]:
        """Devices with a worker that is online only by an old word."""
        return frozenset(name for name, device in self.devices.items() if device.doubted)

    def with_message(
        self, topic: Topic[Any], parameters: Mapping[str, str], message: Any | None, *, retained: bool = False
    ) -> Fleet:
        """The fleet after one message (None: the topic was cleared); topics that are not of the fleet change nothing.

        Args:
            topic: where it came from.
            parameters: the names in its address; they win over names inside the message.
            message: what came.
            retained: the broker had kept it, so nobody may be there any more.
        """
        if topic is MODEL_CARD:
            return replace(self, cards=_put(self.cards, parameters["model"], message))
        if topic not in FLEET_TOPICS:
            return self
        name = parameters["device"]
        before = self.devices.get(name, Device(name))
        after = _folded(before, topic, parameters, message, retained=retained)
        return self if after is before else replace(self, devices={**self.devices, name: after})

    def with_doubts(self) -> Fleet:
        """The fleet after the planner (re)connected: who is there must say so again."""
        doubted = {
            name: replace(device, doubted=device.worker is not None and device.worker.online)
            for name, device in self.devices.items()
        }
        return replace(self, devices=doubted)

    def without_doubted(self) -> Fleet:
        """The fleet when the time to speak up is over: workers that were not heard are offline."""
        devices = dict(self.devices)
        for name in self.doubted:
            worker = devices[name].worker
            if worker is not None:
                gone = worker.model_copy(update={"online": False, "stages": (), "reason": "did not answer"})
                devices[name] = replace(devices[name], worker=gone, doubted=False)
        return replace(self, devices=devices)


def lost(before: Fleet, after: Fleet) -> tuple[str, ...]:
    """Devices that could be counted on before and cannot now, or that lost all they held by starting again."""
    return tuple(
        name
        for name, device in before.usable.items()
        if not after.devices[name].usable or _boot(after.devices[name]) != _boot(device)
    )


def improved(before: Fleet, after: Fleet) -> tuple[str, ...]:
    """Devices that became usable, are usable in a new life, or measured a model, perhaps later than was waited for."""
    return tuple(
        name
        for name, device in after.usable.items()
        if name not in before.devices
        or not before.devices[name].usable
        or _boot(before.devices[name]) != _boot(device)
        or not before.devices[name].profiles.items() >= device.profiles.items()
    )


async def read_fleet(bus: Bus) -> Fleet:
    """The fleet as the broker's retained topics tell it, now."""
    fleet = Fleet()
    for topic in FLEET_TOPICS:
        for delivery in await bus.snapshot(topic):
            fleet = fleet.with_message(topic, delivery.parameters, delivery.message, retained=True)
    return fleet


def _folded(
    device: Device, topic: Topic[Any], parameters: Mapping[str, str], message: Any | None, *, retained: bool
) -> Device:
    if topic is DEVICE_PROFILE:
        return replace(device, profiles=_put(device.profiles, parameters["model"], message))
    if topic is DEVICE_STATUS:
        if not _of_the_past(device.status, message, device.past_monitors, retained=retained):
            past = _past(device.past_monitors, device.status, message)
            return replace(device, status=message, past_monitors=past)
    elif topic is DEVICE_STAGES:
        if not _of_the_past(device.worker, message, device.past_workers, retained=retained):
            past = _past(device.past_workers, device.worker, message)
            return replace(device, worker=message, past_workers=past, doubted=device.doubted and retained)
    elif message is None or message.boot_id not in device.past_monitors:
        if topic is DEVICE_INFO:
            return replace(device, info=message)
        return replace(device, telemetry=_with_last_link(message, device.link))
    return device


def _with_last_link(telemetry: Telemetry | None, link: LinkMeasure | None) -> Telemetry | None:
    """A monitor that has just started again has not measured yet; what the one before it found is still the best."""
    if telemetry is None or telemetry.link is not None or link is None:
        return telemetry
    return telemetry.model_copy(update={"link": link})


def _of_the_past(
    now: DeviceStatus | StagesHeld | None,
    message: DeviceStatus | StagesHeld | None,
    past: tuple[str, ...],
    *,
    retained: bool,
) -> bool:
    """Whether a birth, report or will is from a life before the one that is known to be lived now.

    A live message of another life that says "offline" is a will that the broker sent late. One that the broker had
    kept may be of a life that began and ended while nobody listened: it counts, unless that life is known to be over.
    """
    if now is None or message is None or not now.online or message.boot_id == now.boot_id:
        return False
    return message.boot_id in past or not (message.online or retained)


def _past(
    past: tuple[str, ...], now: DeviceStatus | StagesHeld | None, message: DeviceStatus | StagesHeld | None
) -> tuple[str, ...]:
    if now is None or message is None or now.boot_id == message.boot_id:
        return past
    return (*(boot for boot in past if boot != message.boot_id), now.boot_id)[-_LIVES_KEPT:]


def _boot(device: Device) -> str:
    return device.worker.boot_id if device.worker else ""


def _put(mapping: Mapping[str, Any], key: str, value: Any | None) -> dict[str, Any]:
    rest = {name: kept for name, kept in mapping.items() if name != key}
    return rest if value is None else {**rest, key: value}
