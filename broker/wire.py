"""The paho client inside aiomqtt, with its data path replaced. The only place that knows paho's insides.

What is replaced, and why (measured in docs/performance.md, `stageline bench hop`):
- reading: paho receives byte by byte, then copies a payload five times; here it is received once, in place.
- writing: paho copies what is left of a packet before every send; here sends are slices of a view. And it is written
  at once, where aiomqtt would wait for two turns of the event loop.
- PUBLISH and PUBACK have their own codec (`packet.py`), so a refused message is noticed.
- keepalive: paho pings only when the time is over, which leaves a busy Pi no slack before the broker publishes its
  will, and it gives up on a connection that is merely slow. CONNECT, SUBSCRIBE, PING and the rest remain paho's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MalformedPacket

from broker.packet import PUBACK, PUBLISH, PacketError, Publish, read_puback, read_publish
from broker.reader import PacketReader

_JOINED_BYTES: Final = 1 << 16
_MOST_BYTES_PER_TURN: Final = 8 << 20
_PATIENCE: Final = 2.0
_ESTABLISHED: Final = 1
"""TCP_ESTABLISHED of Linux's struct tcp_info."""
_PACKET_TYPE: Final = 0xF0


class Wire(paho.Client):
    """A paho client for use on one event loop. Made by `Wire.inside`, as aiomqtt makes its own client."""

    _reader: PacketReader
    _prepared_socket: socket.socket | None
    _got_publish: Callable[[Publish], None]
    _got_puback: Callable[[int, int], None]
    _events: asyncio.AbstractEventLoop | None
    _paused: bool

    @classmethod
    def inside(
        cls,
        client: paho.Client,
        sock: socket.socket,
        *,
        most_bytes: int,
        got_publish: Callable[[Publish], None],
        got_puback: Callable[[int, int], None],
    ) -> Wire:
        """Make `client` a Wire that will connect over `sock` (already connected, TCP)."""
        client.__class__ = cls
        if not isinstance(client, cls):
            raise TypeError(f"cannot take over a {type(client).__name__}")
        client._reader = PacketReader(most_bytes)
        client._prepared_socket = sock
        client._got_publish = got_publish
        client._got_puback = got_puback
        client._events = None
        client._paused = False
        return client

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Connected: from now on everything happens on `loop`, and writes need not wait for its next turn."""

        def register(_client: paho.Client, _userdata: Any, sock: Any) -> None:
            loop.add_writer(sock, self.loop_write)

        def unregister(_client: paho.Client, _userdata: Any, sock: Any) -> None:
            loop.remove_writer(sock)

        self.on_socket_register_write = register
        self.on_socket_unregister_write = unregister
        self._events = loop
        self.resume_reading()

    def pause_reading(self) -> None:
        """Take nothing more until `resume_reading`: what comes waits in the kernel, and then at the broker."""
        if self._sock is not None and not self._paused and self._events is not None:
            self._paused = True
            self._events.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        """Go on taking what comes."""
        if self._sock is None or self._events is None:
            return
        self._paused = False
        # An answer to a ping may wait among what was not read.
        self._ping_t = 0.0
        self._last_bytes_received = time.monotonic()
        self._events.add_reader(self._sock.fileno(), self._readable)
        if isinstance(self._sock, ssl.SSLSocket):
            # It may hold bytes that the kernel no longer knows of.
            self._events.call_soon(self._readable)

    def next_mid(self) -> int:
        """A message id, 1 to 65535, round and round."""
        return self._mid_generate()

    def send_publish(self, head: bytearray, payload: bytes) -> None:
        """Write what the socket takes now, and queue the rest."""
        sent = 0 if self._out_packet else self._send_both(head, payload)
        if sent == len(head) + len(payload):
            return
        view = memoryview(payload)
        if sent < len(head):
            self._append(head[sent:] + view[:_JOINED_BYTES])
            sent = len(head) + _JOINED_BYTES
        if sent < len(head) + len(view):
            self._append(view[sent - len(head) :])
        self._flush()

    def drop(self) -> None:
        """Close the socket without a word."""
        self._sock_close()
        if self._prepared_socket is not None:
            self._prepared_socket.close()

    @property
    def is_open(self) -> bool:
        """There is a socket."""
        return self._sock is not None

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 - paho's signature
        """Take what the socket has, and handle every packet that is complete."""
        taken = 0
        while self._sock is not None and not self._paused and taken < _MOST_BYTES_PER_TURN:
            try:
                count = self._receive(self._reader.space())
            except BlockingIOError:
                break
            except OSError:
                count = 0
            if count == 0:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
            taken += count
            self._last_bytes_received = time.monotonic()
            try:
                for first, body in self._reader.received(count):
                    self._handle(first, body)
            except PacketError:
                return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
            if not self._reader.expects_more:
                # Asking an empty socket costs as much as taking a small packet; if it is not empty we are called again.
                break
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def loop_misc(self) -> MQTTErrorCode:
        """Called once a second: ping in good time, and give up on a broker that is silent for long."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        now = time.monotonic()
        received, sent = self._last_bytes_received, self._last_msg_out
        silent_s = 0.0
        if self._out_packet:
            # Bytes that still move are a sign of life, and a ping would only queue behind them.
            silent_s = now - max(sent, received)
        elif self._ping_t and not self._paused:
            silent_s = now - max(self._ping_t, received)
        elif self._events is not None and now - min(sent, received) >= self._keepalive / 2:
            self._send_pingreq()
        if silent_s > _PATIENCE * self._keepalive or (self._paused and not self._is_established()):
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_KEEPALIVE)
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _is_established(self) -> bool:
        """What a socket that is not read does not show by itself: whether the other end has closed it."""
        if not isinstance(self._sock, socket.socket) or not hasattr(socket, "TCP_INFO"):
            return True
        return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED

    def _readable(self) -> None:
        try:
            self.loop_read()
            while isinstance(self._sock, ssl.SSLSocket) and not self._paused and self._sock.pending():
                self.loop_read()
        except Exception:
            # A fault of ours: half a packet is handled, so this connection is of no more use. The loop tells of it.
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_UNKNOWN)
            raise

    def _send_both(self, head: bytearray, payload: bytes) -> int:
        """Write head and payload with one call and no copy; the number of bytes that the socket took."""
        sock = self._sock
        if type(sock) is not socket.socket:
            # TLS encrypts one buffer at a time.
            return 0
        try:
            sent = sock.sendmsg((head, payload))
        except OSError:
            # Full, or broken: the write that follows finds out, and knows what to do.
            return 0
        self._last_msg_out = time.monotonic()
        return sent

    def _receive(self, space: memoryview) -> int:
        sock: Any = self._sock
        try:
            count: int = sock.recv_into(space)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
        return count

    def _handle(self, first: int, body: memoryview) -> None:
        kind = first & _PACKET_TYPE
        if kind == PUBLISH:
            self._got_publish(read_publish(first, body))
        elif kind == PUBACK:
            self._got_puback(*read_puback(body))
        elif self._sock is not None:
            self._in_packet.update(
                {"command": first, "packet": bytearray(body), "remaining_length": len(body), "pos": 0}
            )
            try:
                problem = self._packet_handle()
            except MalformedPacket as error:
                raise PacketError(str(error)) from error
            if problem:
                self._loop_rc_handle(problem)

    def _create_socket_connection(self) -> socket.socket:
        sock, self._prepared_socket = self._prepared_socket, None
        if sock is None:
            raise ConnectionError("a Wire connects once")
        return sock

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        if self._ssl_context is None:
            raise ConnectionError("TLS without a context")
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self._connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            # paho would leave it open.
            wrapped.close()
            raise
        return wrapped

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: Any = None
    ) -> MQTTErrorCode:
        self._append(packet, command, mid, qos, info)
        return self._flush()

    def _append(
        self,
        packet: bytes | bytearray | memoryview,
        command: int = PUBLISH,
        mid: int = 0,
        qos: int = 1,
        info: Any = None,
    ) -> None:
        view: Any = memoryview(packet)
        self._out_packet.append(
            {
                "command": command,
                "mid": mid,
                "qos": qos,
                "pos": 0,
                "to_process": len(view),
                "packet": view,
                "info": info,
            }
        )

    def _flush(self) -> MQTTErrorCode:
        if self._events is not None:
            return self.loop_write()
        self._call_socket_register_write()
        return MQTTErrorCode.MQTT_ERR_SUCCESS
