"""What can go wrong between us and the broker. Each message says what to do next."""

from __future__ import annotations

from typing import Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from broker.address import BrokerAddress

_LASTING_REFUSALS: Final = frozenset({0x85, 0x86, 0x87})
"""CONNACK reasons that stay until a person mends something: client id, user name or password, authorisation."""


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
    """The broker answered and did not let us in; `temporary` when trying again later may help.

    Args:
        reason: of CONNACK (MQTT 5, section 3.2.2.2).
    """

    def __init__(self, address: BrokerAddress, reason: int) -> None:
        self.temporary = reason not in _LASTING_REFUSALS
        super().__init__(
            f"the broker at {address} refused the connection: {reason_name(PacketTypes.CONNACK, reason)}. "
            + (
                "It may let us in later; its log says more"
                if self.temporary
                else "Check user name and password in the address; `stageline invite DEVICE` on the hub makes new ones"
            )
        )


class BrokerUnfitError(BusError):
    """The broker would let us in, and lacks what we need."""

    def __init__(self, address: BrokerAddress, lacks: str) -> None:
        super().__init__(
            f"the broker at {address} offers no {lacks}; use one that does, e.g. mosquitto 2 (`stageline hub`)"
        )


class SubscribeRefusedError(BusError):
    """The broker did not accept a subscription."""

    def __init__(self, pattern: str, reason: int) -> None:
        super().__init__(
            f"the broker refused the subscription to {pattern}: {reason_name(PacketTypes.SUBACK, reason)}. "
            "Check its access rules (acl_file) for this user"
        )


class TooLargeError(BusError):
    """A message that this broker will not pass."""

    def __init__(self, address: str, packet_bytes: int, most_bytes: int) -> None:
        super().__init__(
            f"{address}: {packet_bytes} bytes, and this broker passes at most {most_bytes}. Set `max_packet_size "
            f"{max(packet_bytes, 64 << 20)}` in its mosquitto.conf and restart it, or send less (codec u8 or zstd)"
        )


class BusClosedError(BusError):
    """The bus was left while somebody still used it."""

    def __init__(self) -> None:
        super().__init__("the bus is closed; end what uses it before leaving `async with Bus(...)`")


class PublishRefusedError(BusError):
    """The broker received a message and will not pass it on."""

    def __init__(self, address: str, reason: int) -> None:
        super().__init__(
            f"the broker refused a message to {address}: {reason_name(PacketTypes.PUBACK, reason)}. "
            "Check its access rules (acl_file) for this user"
        )


class ConnectionLostError(Exception):
    """The connection ended, or never was; trying again on a new one may help. Never leaves this package."""


def reason_name(packet_type: int, reason: int) -> str:
    """An MQTT 5 reason code in words, e.g. `Not authorized (135)`."""
    return f"{ReasonCode(packet_type, identifier=reason)} ({reason})"
