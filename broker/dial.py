"""How a connection is set up: settings, a TCP socket that notices a vanished peer, and what CONNECT says."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.address import BrokerAddress
from broker.message import Outgoing
from schemas.decoding import MOST_CONTROL_BYTES
from schemas.frame import DEFAULT_LIMITS

CONNECT_TIMEOUT_S: Final = 5.0
MOST_IN_FLIGHT: Final = 20
_HEAD_BYTES: Final = 1 << 16
MOST_FRAME_PACKET_BYTES: Final = DEFAULT_LIMITS.frame_bytes + _HEAD_BYTES
MOST_CONTROL_PACKET_BYTES: Final = MOST_CONTROL_BYTES + _HEAD_BYTES
"""The largest packets that we tell the broker to send us: the largest payload, and its head."""

# paho tells of lost connections as errors; whoever has to know is told by `Connection`.
_PAHO_LOG: Final = logging.getLogger("broker.paho")
_PAHO_LOG.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How to connect. The client id is the same for every attempt, so that a new connection takes over from a stale
    one, and the broker has published the stale one's will before it listens to us again.
    """

    address: BrokerAddress
    client_id: str
    keepalive_s: int
    receive_maximum: int | None = None
    manual_ack: bool = False
    will: Outgoing | None = None

    @property
    def most_received_bytes(self) -> int:
        """The largest packet that we take: only where frames come in, a large one."""
        return MOST_FRAME_PACKET_BYTES if self.manual_ack else MOST_CONTROL_PACKET_BYTES


async def tcp(settings: ConnectionSettings) -> socket.socket:
    """A connected socket, to the first of the host's addresses that answers.

    Raises:
        OSError: none did.
    """
    loop = asyncio.get_running_loop()
    address = settings.address
    problem: OSError = ConnectionError(f"{address.host} has no address")
    for family, kind, protocol, _, where in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # What was sent and is not acknowledged for this long ends the connection: a cable was pulled.
                patience_ms = 2000 * settings.keepalive_s
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem


def client(settings: ConnectionSettings, context: ssl.SSLContext | None) -> aiomqtt.Client:
    """An aiomqtt client that has not connected yet."""
    address = settings.address
    said = properties(PacketTypes.CONNECT, MaximumPacketSize=settings.most_received_bytes)
    if settings.receive_maximum is not None:
        said.ReceiveMaximum = settings.receive_maximum
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=settings.client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=True,
        keepalive=settings.keepalive_s,
        properties=said,
        tls_context=context,
        will=_will(settings.will),
        timeout=CONNECT_TIMEOUT_S,
        logger=_PAHO_LOG,
    )


def properties(packet_type: int, **values: object) -> Properties:
    """MQTT 5 properties of a packet, by paho's names."""
    made = Properties(packet_type)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _will(will: Outgoing | None) -> aiomqtt.Will | None:
    if will is None:
        return None
    said = properties(PacketTypes.WILLMESSAGE, ContentType=will.envelope.content_type or "")
    return aiomqtt.Will(will.address, will.payload, will.qos, will.retain, said)
