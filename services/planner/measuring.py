"""Has devices measure a model, where nobody knows how fast they run it; one after the other on one machine."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from broker.bus import Bus
from broker.errors import BrokerUnreachableError
from schemas.device import Command, Profile
from schemas.model import ModelCard
from schemas.topics import DEVICE_COMMAND
from services.planner.device import Device
from services.planner.fleet import Fleet
from services.planner.watch import FleetWatch

logger = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 1.0
"""After a question that nobody heard: a worker that lost its connection is back within seconds."""

K = TypeVar("K")


class Measurer:
    """Asks, and waits for what is found. `within_s` is what one device gets for one model."""

    def __init__(self, bus: Bus, watch: FleetWatch, *, within_s: float) -> None:
        self._bus = bus
        self._watch = watch
        self.within_s = within_s
        self._asked: dict[tuple[str, str, str], float] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def measure(self, card: ModelCard, names: Iterable[str]) -> None:
        """Have each of `names` measure `card`; returns when each has, is gone, or its time is up."""
        async with asyncio.TaskGroup() as group:
            for machine, together in by_machine(self._watch.fleet.devices, list(names)).items():
                turn = self._turns.setdefault(machine, asyncio.Lock())
                group.create_task(self._in_turn(card, together, turn))

    async def _in_turn(self, card: ModelCard, names: Sequence[str], turn: asyncio.Lock) -> None:
        for name in names:
            async with turn:
                await self._one(card, name)

    async def _one(self, card: ModelCard, name: str) -> None:
        with self._watch.patience(name):
            try:
                async with asyncio.timeout(self.within_s):
                    await self._ask(name, card)
                    await self._watch.until(partial(_settled, name=name, card=card))
            except TimeoutError:
                fields = {"device": name, "model": card.name}
                logger.warning("%s did not measure %s in time", name, card.name, extra=fields)

    async def _ask(self, name: str, card: ModelCard) -> None:
        """Ask once per life of a worker, while an answer may still come: it measures one thing after the other.

        A worker that does not hear it is asked again, so this returns when it was asked.
        """
        device = self._watch.fleet.devices.get(name, Device(name))
        key = (name, device.boot, card.sha256)
        if time.monotonic() - self._asked.get(key, -math.inf) < self.within_s:
            return
        while True:
            if await self._heard(name, Command(kind="profile", model=card.name)):
                now_s = time.monotonic()
                self._asked = {**awaited(self._asked, now_s, self.within_s), key: now_s}
                return
            await asyncio.sleep(ASK_AGAIN_S)

    async def _heard(self, name: str, command: Command) -> bool:
        try:
            heard = await self._bus.publish(DEVICE_COMMAND, command, device=name)
        except BrokerUnreachableError as error:
            logger.warning("%s was not asked to measure: %s", name, error, extra={"device": name})
            return False
        if not heard:
            logger.info("%s does not listen to commands now", name, extra={"device": name})
        return heard


def measured(fleet: Fleet, card: ModelCard, names: Iterable[str]) -> dict[str, Profile]:
    """What those of `names` have measured of `card`, every block of it."""
    found = {name: fleet.devices[name].profile_of(card.name, card.sha256) for name in names if name in fleet.devices}
    return {name: one for name, one in found.items() if one is not None and len(one.block_ms) == len(card.blocks)}


def awaited(asked_s: Mapping[K, float], now_s: float, within_s: float) -> dict[K, float]:
    """Of the questions asked at some time, those that may still be answered."""
    return {key: at_s for key, at_s in asked_s.items() if now_s - at_s < within_s}


def by_machine(devices: Mapping[str, Device], names: Sequence[str]) -> dict[str, list[str]]:
    """`names` by the machine (host name) that they share: measured at once they would measure each other."""
    groups: dict[str, list[str]] = {}
    for name in names:
        info = devices[name].info if name in devices else None
        groups.setdefault(info.hostname if info else name, []).append(name)
    return groups


def _settled(fleet: Fleet, *, name: str, card: ModelCard) -> bool:
    return bool(measured(fleet, card, [name])) or name not in fleet.usable
