"""What the broker retains at this moment, with a certain end."""

from __future__ import annotations

import asyncio
from typing import Final

from broker.connection import Connection
from broker.dial import ConnectionSettings
from broker.errors import BrokerUnreachableError, ConnectionLostError
from broker.message import Incoming

_RETRY_S: Final = 0.2


async def retained_now(settings: ConnectionSettings, pattern: str, *, timeout_s: float) -> list[Incoming]:
    """All retained messages that match `pattern`.

    On a connection of its own, with QoS 0: then the broker writes the retained messages out while it handles
    SUBSCRIBE, with no window to wait for, and answers one client's packets in order. So the answer to a second
    SUBSCRIBE comes after the last of them, and no time has to be guessed.

    Raises:
        BrokerUnreachableError: not within `timeout_s`.
    """
    problem = "the connection was lost"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                found: list[Incoming] = []
                connection = Connection(settings, found.append)
                try:
                    await connection.open()
                    await connection.subscribe(pattern, 1, qos=0)
                    await connection.subscribe(pattern, 1, qos=0, send_retained=False)
                except ConnectionLostError as error:
                    problem = str(error)
                    await asyncio.sleep(_RETRY_S)
                else:
                    return [message for message in found if message.packet.retained]
                finally:
                    await connection.close()
    except TimeoutError:
        raise BrokerUnreachableError(settings.address, timeout_s, problem) from None
