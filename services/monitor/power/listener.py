"""Listens to the device's smart plug."""

from __future__ import annotations

import logging
from collections import Counter

from broker.address import BrokerAddress
from broker.bus import Bus
from services.monitor.power.plug import Plug, PlugPayloadError

logger = logging.getLogger(__name__)


async def listen_to_plug(address: BrokerAddress, plug: Plug, *, name: str, rejected: Counter[str]) -> None:
    """Give `plug` every message on its topic; one loop of the monitor.

    Plugs live outside of our root, so this is a bus of its own, rooted just above the plug's topic.
    """
    parent, _, last = plug.topic.rpartition("/")
    async with (
        Bus(address, name=name, root=parent, connect_timeout_s=None) as bus,
        bus.subscribe_bytes(last) as messages,
    ):
        async for message in messages:
            try:
                plug.hear(bytes(message.payload))
            except PlugPayloadError as error:
                rejected["plug"] += 1
                logger.warning("%s: %s", plug.topic, error)
