"""One MQTT 5 connection, from CONNECT to its loss. It never reconnects: `channel.py` makes the next one.

aiomqtt runs the socket on the event loop. What it leaves out is done here, on the paho client inside it, and nowhere
else: reason codes of PUBACK, limits from CONNACK, acknowledging by hand, and messages that go straight to where they
are wanted instead of through a queue that drops what does not fit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.address import BrokerAddress

_LOG = logging.getLogger(__name__)
_CONNECT_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 2.0
_MOST_BYTES: Final = 268_435_455
_MOST_IN_FLIGHT: Final = 20
_FIRST_FAILURE: Final = 0x80


class BusError(Exception):
    """What can go wrong between us and the broker. Each message says what to do next."""


class BrokerUnreachableError(BusError):
    """No connection to the broker in the time given."""

    def __init__(self, address: BrokerAddress, waited_s: float, problem: str) -> None:
        super().__init__(
            f"no broker at {address} within {waited_s:g} s ({problem}). Is the hub on and mosquitto running there? "
            "`stageline hub` starts it; `stageline doctor` looks further"
        )


class BrokerRefusedError(BusError):
    """The broker answered and did not let us in."""

    def __init__(self, address: BrokerAddress, reason: str) -> None:
        super().__init__(
            f"the broker at {address} refused the connection: {reason}. Check the user name and password in the address; "
            "`stageline invite DEVICE` on the hub makes new ones"
        )


class ConnectionLostError(BusError):
    """The connection ended before the broker answered."""


class SubscribeRefusedError(BusError):
    """The broker did not accept a subscription."""

    def __init__(self, pattern: str, reason: str) -> None:
        super().__init__(
            f"the broker refused the subscription to {pattern}: {reason}. Check the broker's access rules (acl_file)"
        )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out; `address` is the whole topic."""

    address: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    properties: Properties | None = None

    @property
    def packet_bytes(self) -> int:
        """Size of its PUBLISH packet, which is what a broker's limit counts."""
        properties = len(self.properties.pack()) if self.properties else 1
        return 1 + 4 + 2 + len(self.address.encode()) + 2 + properties + len(self.payload)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came; `subscription` lists the identifiers that it matched."""

    address: str
    payload: bytes
    retained: bool
    subscriptions: tuple[int, ...]
    properties: Properties | None
    mid: int
    received_at: float
    connection: Connection


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker's PUBACK: its reason code, and how long it took to come, s."""

    reason: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How to connect; the same for every attempt, so that a new connection takes the place of a stale one."""

    address: BrokerAddress
    client_id: str
    keepalive_s: int
    receive_maximum: int | None = None
    manual_ack: bool = False
    will: Outgoing | None = None


class Connection:
    """See the module. `open`, use, `close`; `lost` is done (with a reason) when it ended."""

    def __init__(self, settings: ConnectionSettings, on_message: Callable[[Incoming], None]) -> None:
        self._settings = settings
        self._on_message = on_message
        self._awaited: dict[int, tuple[float, asyncio.Future[Accepted]]] = {}
        self._subscribing: dict[int, asyncio.Future[int]] = {}
        self._window = asyncio.Semaphore(_MOST_IN_FLIGHT)
        self.max_packet_bytes = _MOST_BYTES
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect; the broker's limits are known afterwards.

        Raises:
            BrokerRefusedError: the broker said no.
            ConnectionLostError: anything else; trying again may help.
        """
        settings = self._settings
        try:
            self._client = aiomqtt.Client(
                settings.address.host,
                settings.address.port,
                username=settings.address.username,
                password=settings.address.password,
                identifier=settings.client_id,
                protocol=aiomqtt.ProtocolVersion.V5,
                clean_start=True,
                keepalive=settings.keepalive_s,
                properties=_connect_properties(settings),
                tls_context=settings.address.tls_context(),
                will=_will(settings.will),
                timeout=_CONNECT_TIMEOUT_S,
                max_inflight_messages=_MOST_IN_FLIGHT,
                socket_options=[(paho.socket.IPPROTO_TCP, paho.socket.TCP_NODELAY, 1)],
            )
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        self._paho: paho.Client = self._client._client
        self._hook()
        try:
            await self._client.__aenter__()
        except aiomqtt.MqttConnectError as error:
            raise BrokerRefusedError(settings.address, str(error.rc)) from error
        except (aiomqtt.MqttError, OSError) as error:
            self._drop()
            raise ConnectionLostError(str(error)) from error
        except BaseException:
            self._drop()
            raise
        self._client._disconnected.add_done_callback(self._ended)

    async def close(self) -> None:
        """Disconnect in good order: the broker forgets our will. Never waits long."""
        if not self.lost.done():
            self._paho.disconnect()
            self._paho.loop_write()
            await asyncio.wait([self.lost], timeout=_CLOSE_TIMEOUT_S)
        self._drop()

    async def publish(self, message: Outgoing) -> Accepted:
        """Send, and with QoS 1 wait for the broker's word on it.

        Raises:
            ConnectionLostError: the connection ended first; the message may or may not have arrived.
        """
        async with self._window:
            self._check_open()
            started = time.perf_counter()
            info = self._paho.publish(message.address, message.payload, message.qos, message.retain, message.properties)
            if message.qos == 0:
                return Accepted(0, 0.0)
            future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
            self._awaited[info.mid] = (started, future)
            try:
                return await future
            finally:
                self._awaited.pop(info.mid, None)

    async def subscribe(self, pattern: str, identifier: int, *, qos: int = 1, send_retained: bool = True) -> None:
        """Subscribe and wait for SUBACK. Messages that match carry `identifier`.

        Raises:
            SubscribeRefusedError: the broker said no.
            ConnectionLostError: the connection ended first.
        """
        self._check_open()
        properties = Properties(PacketTypes.SUBSCRIBE)
        properties.SubscriptionIdentifier = identifier
        handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if send_retained else SubscribeOptions.RETAIN_DO_NOT_SEND
        options = SubscribeOptions(qos=qos, retainHandling=handling)
        _, mid = self._paho.subscribe(pattern, options=options, properties=properties)
        if mid is None:
            raise ConnectionLostError("the connection ended")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._subscribing[mid] = future
        try:
            reason = await future
        finally:
            self._subscribing.pop(mid, None)
        if reason >= _FIRST_FAILURE:
            raise SubscribeRefusedError(pattern, reason_name(PacketTypes.SUBACK, reason))

    def unsubscribe(self, pattern: str) -> None:
        """Ask for no more; nothing is waited for."""
        if not self.lost.done():
            self._paho.unsubscribe(pattern)

    def ack(self, mid: int) -> None:
        """Acknowledge a message (manual_ack): the broker may send the next."""
        if not self.lost.done():
            self._paho.ack(mid, 1)

    def _check_open(self) -> None:
        if self.lost.done():
            raise ConnectionLostError(self.lost.result())

    def _hook(self) -> None:
        self._paho.manual_ack_set(self._settings.manual_ack)
        self._paho.on_message = self._message_came
        self._paho.on_publish = self._puback_came
        self._paho.on_subscribe = self._suback_came
        self._paho.on_unsubscribe = None
        connected = self._client._on_connect

        def on_connect(client: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
            self.max_packet_bytes = getattr(properties, "MaximumPacketSize", _MOST_BYTES)
            self._window = asyncio.Semaphore(
                min(_MOST_IN_FLIGHT, getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT))
            )
            connected(client, userdata, flags, reason, properties)

        self._paho.on_connect = on_connect

    def _message_came(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        identifiers = getattr(properties, "SubscriptionIdentifier", ())
        self._on_message(
            Incoming(
                message.topic,
                message.payload,
                message.retain,
                tuple(identifiers),
                properties,
                message.mid,
                time.monotonic(),
                self,
            )
        )

    def _puback_came(self, _client: Any, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        started, future = self._awaited.pop(mid, (0.0, None))
        if future is not None and not future.done():
            future.set_result(Accepted(reason.value, time.perf_counter() - started))

    def _suback_came(self, _client: Any, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        future = self._subscribing.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(reasons[0].value)

    def _ended(self, disconnected: asyncio.Future[None]) -> None:
        problem = disconnected.exception()
        reason = str(problem) if problem else "closed"
        if not self.lost.done():
            self.lost.set_result(reason)
        for future in [*(future for _, future in self._awaited.values()), *self._subscribing.values()]:
            if not future.done():
                future.set_exception(ConnectionLostError(f"the connection ended: {reason}"))
        self._awaited.clear()
        self._subscribing.clear()

    def _drop(self) -> None:
        self._paho._sock_close()


def reason_name(packet_type: int, reason: int) -> str:
    """An MQTT 5 reason code in words, e.g. `Not authorized (135)`."""
    return f"{ReasonCode(packet_type, identifier=reason)} ({reason})"


def _connect_properties(settings: ConnectionSettings) -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    if settings.receive_maximum is not None:
        properties.ReceiveMaximum = settings.receive_maximum
    return properties


def _will(will: Outgoing | None) -> aiomqtt.Will | None:
    return None if will is None else aiomqtt.Will(will.address, will.payload, will.qos, will.retain, will.properties)
