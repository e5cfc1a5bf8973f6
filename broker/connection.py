"""One MQTT 5 connection, from CONNECT to its loss. It never reconnects: `kept_connection.py` makes the next one.

aiomqtt runs the socket on the event loop, paho speaks MQTT, `wire.py` moves the data. What aiomqtt leaves out is here:
reason codes of PUBACK and SUBACK, the broker's limits, acknowledging by hand, and every message going straight to
where it is wanted instead of through a queue that drops what does not fit.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.dial import MOST_IN_FLIGHT, ConnectionSettings, client, properties, tcp
from broker.errors import (
    BrokerRefusedError,
    BrokerUnfitError,
    ConnectionLostError,
    SubscribeRefusedError,
    TooLargeError,
)
from broker.message import FIRST_FAILURE, Accepted, Incoming, Outgoing
from broker.packet import MOST_PACKET_BYTES, PacketError, Publish
from broker.wire import Wire

_CLOSE_TIMEOUT_S: Final = 2.0
_UNSPECIFIED: Final = 0x80


class Connection:
    """See the module. `open` once, use, `close`; `lost` is done, with the reason, when it has ended."""

    def __init__(self, settings: ConnectionSettings, on_message: Callable[[Incoming], None]) -> None:
        self._settings = settings
        self._on_message = on_message
        self._window = MOST_IN_FLIGHT
        self._room = asyncio.Event()
        self._room.set()
        self._published: dict[int, tuple[float, asyncio.Future[Accepted]]] = {}
        self._subscribing: dict[int, asyncio.Future[int]] = {}
        self._unacknowledged: set[int] = set()
        self._most_unacknowledged = settings.receive_maximum or MOST_IN_FLIGHT
        self._client: aiomqtt.Client
        self._wire: Wire
        self._begun = False
        self._lacks = ""
        self.max_packet_bytes = MOST_PACKET_BYTES
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect; the broker's limits are known afterwards.

        Raises:
            BrokerRefusedError: the broker said no.
            BrokerUnfitError: it lacks what we need.
            ConnectionLostError: anything else.
        """
        try:
            context = await asyncio.to_thread(self._settings.address.tls_context)
            sock = await tcp(self._settings)
        except OSError as error:
            raise ConnectionLostError(str(error) or type(error).__name__) from error
        self._prepare(sock, context)
        self._begun = True
        connecting = asyncio.ensure_future(self._client.__aenter__())
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # aiomqtt connects in a thread that cannot be cancelled; what it makes must not be left behind.
            if self._wire.is_open:
                connecting.cancel()
            connecting.add_done_callback(self._abandon)
            raise
        except MqttConnectError as error:
            self._wire.drop()
            raise BrokerRefusedError(self._settings.address, getattr(error.rc, "value", _UNSPECIFIED)) from error
        except (aiomqtt.MqttError, OSError) as error:
            self._wire.drop()
            raise ConnectionLostError(str(error)) from error
        if not self._wire.is_open:
            raise ConnectionLostError("the broker closed the connection at once")
        if self._lacks:
            self._wire.drop()
            raise BrokerUnfitError(self._settings.address, self._lacks)
        self._wire.use_loop(asyncio.get_running_loop())

    async def close(self) -> None:
        """Disconnect in good order, so that the broker forgets our will. Never waits long."""
        if not self._begun:  # it was not even dialled, or that was given up
            return
        if not self.lost.done():
            self._wire.disconnect()
            await asyncio.wait([self.lost], timeout=_CLOSE_TIMEOUT_S)
        self._wire.drop()

    @property
    def has_room(self) -> bool:
        """Another message may be sent now: the broker takes so many (Receive Maximum) before it has answered one."""
        return len(self._published) < self._window

    async def room(self) -> None:
        """Wait until `has_room`, or until the connection is lost."""
        while not (self.has_room or self.lost.done()):
            self._room.clear()
            await self._room.wait()

    def send(self, message: Outgoing) -> asyncio.Future[Accepted]:
        """Write a message now, and return where the broker's word on it will be (with QoS 0 it is there at once).

        That future raises ConnectionLostError when the connection ends first; the message may have arrived or not.

        Raises:
            TooLargeError: the broker said at CONNECT that it would not take so much.
            ConnectionLostError: there is no connection any more.
        """
        self._check_open()
        mid = self._wire.next_mid()
        head = message.head(mid)
        packet_bytes = len(head) + len(message.payload)
        if packet_bytes > self.max_packet_bytes:
            raise TooLargeError(message.address, packet_bytes, self.max_packet_bytes)
        started = time.perf_counter()
        self._wire.send_publish(head, message.payload)
        self._check_open()
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        if message.qos:
            self._published[mid] = (started, future)
        else:
            future.set_result(Accepted(0, 0.0))
        return future

    async def publish(self, message: Outgoing) -> Accepted:
        """As `send`, when there is room, and wait for the answer."""
        await self.room()
        return await self.send(message)

    async def subscribe(self, pattern: str, identifier: int, *, qos: int = 1, send_retained: bool = True) -> None:
        """Subscribe and wait for SUBACK. Messages that match carry `identifier`.

        Raises:
            SubscribeRefusedError: the broker said no.
            ConnectionLostError: the connection ended first.
        """
        self._check_open()
        said = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
        handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if send_retained else SubscribeOptions.RETAIN_DO_NOT_SEND
        options = SubscribeOptions(qos=qos, retainHandling=handling)
        _, mid = self._wire.subscribe(pattern, options=options, properties=said)
        self._check_open()
        if mid is None:
            raise ConnectionLostError("the connection ended")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._subscribing[mid] = future
        try:
            reason = await future
        finally:
            self._subscribing.pop(mid, None)
        if reason >= FIRST_FAILURE:
            raise SubscribeRefusedError(pattern, reason)

    def unsubscribe(self, pattern: str) -> None:
        """Ask for no more; nothing is waited for."""
        if not self.lost.done():
            self._wire.unsubscribe(pattern)

    def ack(self, mid: int) -> None:
        """Acknowledge a message (with `manual_ack`): the broker may send the next. Only the first time counts."""
        if mid in self._unacknowledged and not self.lost.done():
            self._unacknowledged.discard(mid)
            self._wire.ack(mid, 1)
            if len(self._unacknowledged) == self._most_unacknowledged // 2:
                # Not one by one: messages that are taken in together cost less each.
                self._wire.resume_reading()

    def _prepare(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._client = client(self._settings, context)
        self._wire = Wire.inside(
            self._client._client,
            sock,
            most_bytes=self._settings.most_received_bytes,
            got_publish=self._got_publish,
            got_puback=self._got_puback,
        )
        self._wire.manual_ack_set(True)
        self._wire.on_connect = self._got_connack
        self._wire.on_subscribe = self._got_suback
        self._wire.on_unsubscribe = None
        self._wire.on_disconnect = self._disconnected

    def _check_open(self) -> None:
        if self.lost.done():
            raise ConnectionLostError(self.lost.result())

    def _got_connack(self, paho: Any, userdata: Any, flags: Any, reason: Any, said: Any = None) -> None:
        self.max_packet_bytes = getattr(said, "MaximumPacketSize", MOST_PACKET_BYTES)
        # Without them nobody here would be given any message (`subscriptions.py`). Not mentioned means available.
        self._lacks = "" if getattr(said, "SubscriptionIdentifierAvailable", 1) else "subscription identifiers"
        self._window = min(MOST_IN_FLIGHT, getattr(said, "ReceiveMaximum", MOST_IN_FLIGHT))
        self._client._on_connect(paho, userdata, flags, reason, said)

    def _got_publish(self, packet: Publish) -> None:
        if packet.qos > 1:
            raise PacketError("QoS 2, which nobody here asked for")
        if packet.qos:
            self._unacknowledged.add(packet.mid)
            if self._settings.manual_ack and len(self._unacknowledged) >= self._most_unacknowledged:
                # Receive Maximum says the same to the broker, but mosquitto 2.0.11 counts wrongly above 1 and would
                # send its whole backlog.
                self._wire.pause_reading()
        message = Incoming(packet, time.monotonic(), self)
        self._on_message(message)
        if not self._settings.manual_ack:
            message.ack()

    def _got_puback(self, mid: int, reason: int) -> None:
        started, future = self._published.pop(mid, (0.0, None))
        if future is not None and not future.done():
            future.set_result(Accepted(reason, time.perf_counter() - started))
        self._room.set()

    def _got_suback(self, _client: Any, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        future = self._subscribing.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(reasons[0].value)

    def _disconnected(self, _client: Any, _userdata: Any, flags: Any, reason: Any, _properties: Any = None) -> None:
        if not flags.is_disconnect_packet_from_server and reason.value == _UNSPECIFIED:
            reason = "the connection broke"
        connected = self._client._connected
        if not connected.done():
            connected.set_exception(aiomqtt.MqttError(f"closed before it was accepted: {reason}"))
        self._end(str(reason))

    def _end(self, reason: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        waiting: list[asyncio.Future[Any]] = [*self._subscribing.values()]
        waiting += [future for _, future in self._published.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionLostError(reason))
        self._room.set()

    def _abandon(self, connecting: asyncio.Future[Any]) -> None:
        if not connecting.cancelled():
            connecting.exception()
        self._wire.drop()
