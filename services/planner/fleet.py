"""The planner's picture of the fleet: immutable, folded from what devices say of themselves.

    fleet = fleet.with_message(DEVICE_INFO, {"device": "pi4"}, info)

The same picture is read once from retained topics to plan on paper (`read_fleet`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from broker.bus import Bus
from schemas.model import ModelCard
from schemas.topics import MODEL_CARD, Topic
from services.planner.device import DEVICE_TOPICS, Device, put

FLEET_TOPICS: Final[tuple[Topic[Any], ...]] = (*DEVICE_TOPICS, MODEL_CARD)


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
        self,
        topic: Topic[Any],
        parameters: Mapping[str, str],
        message: Any | None,
        *,
        retained: bool = False,
        awaited: bool = False,
    ) -> Fleet:
        """The fleet after one message (None: the topic was cleared); topics that are not of the fleet change nothing.

        A device of which nothing is left is no longer in it.

        Args:
            topic: where it came from.
            parameters: the names in its address; they win over names inside the message.
            message: what came.
            retained: the broker had kept it, so nobody may be there any more.
            awaited: the device's worker was silent and was asked for a word; see `services.planner.lives`.
        """
        if topic is MODEL_CARD:
            return replace(self, cards=put(self.cards, parameters["model"], message))
        if topic not in DEVICE_TOPICS:
            return self
        name = parameters["device"]
        before = self.devices.get(name, Device(name))
        after = before.with_message(topic, parameters, message, retained=retained, awaited=awaited)
        if after.forgotten:
            return replace(self, devices=put(self.devices, name, None)) if name in self.devices else self
        return self if after is before else replace(self, devices={**self.devices, name: after})

    def loses(self, device: str, topic: Topic[Any], parameters: Mapping[str, str]) -> bool:
        """Whether nothing is left of a device that is in it, once this topic of its is cleared."""
        known = self.devices.get(device)
        return (
            known is not None
            and topic in DEVICE_TOPICS
            and known.with_message(topic, parameters, None, retained=False).forgotten
        )

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

    def with_hung(self, why: Mapping[str, str]) -> Fleet:
        """The fleet with exactly these workers counted as hung, and why."""
        if all(device.hung == why.get(name, "") for name, device in self.devices.items()):
            return self
        hung = {
            name: one if one.hung == why.get(name, "") else replace(one, hung=why.get(name, ""))
            for name, one in self.devices.items()
        }
        return replace(self, devices=hung)


def lost(before: Fleet, after: Fleet, among: Sequence[str] | None = None) -> tuple[str, ...]:
    """Devices (`among` those that `changed`) that could be counted on before and cannot now, or that lost all they
    held by starting again.
    """
    return tuple(
        name
        for name in (changed(before, after) if among is None else among)
        if name in before.devices
        and before.devices[name].usable
        and (
            name not in after.devices
            or after.devices[name].absence
            or after.devices[name].boot != before.devices[name].boot
        )
    )


def improved(before: Fleet, after: Fleet, among: Sequence[str] | None = None) -> tuple[str, ...]:
    """Devices (`among` those that `changed`) that became usable, are usable in a new life, or measured a model,
    perhaps later than was waited for.
    """
    return tuple(
        name
        for name in (changed(before, after) if among is None else among)
        if name in after.devices
        and after.devices[name].usable
        and (
            name not in before.devices
            or not before.devices[name].usable
            or before.devices[name].boot != after.devices[name].boot
            or not before.devices[name].profiles.items() >= after.devices[name].profiles.items()
        )
    )


def changed(before: Fleet, after: Fleet) -> list[str]:
    """Devices of which anything is new, in order of name: one message is about one, however many there are."""
    new = [name for name, device in after.devices.items() if before.devices.get(name) is not device]
    return sorted([*new, *(before.devices.keys() - after.devices.keys())])


async def read_fleet(bus: Bus) -> Fleet:
    """The fleet as the broker's retained topics tell it, now."""
    fleet = Fleet()
    for topic in FLEET_TOPICS:
        for delivery in await bus.snapshot(topic):
            fleet = fleet.with_message(topic, delivery.parameters, delivery.message, retained=True)
    return fleet
