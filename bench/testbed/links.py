"""How a link is made slow: a token bucket for its rate, and the kernel's network emulator for its delay."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from pyroute2 import IPRoute, NetlinkError

_BURST_S: Final = 0.002
_LEAST_BURST_BYTES: Final = 3200
"""Two packets: less would never let one pass."""
_QUEUE_S: Final = 0.1
_LEAST_QUEUE_BYTES: Final = 1 << 18
_MOST_BURST_BYTES: Final = 1 << 20
_PACKETS_ON_THE_WAY: Final = 20_000
"""For the emulator's own queue: a delayed link must not lose what is merely travelling."""


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A rate (bytes per second), what may pass at once, and what may wait; bytes."""

    rate_bytes: int
    burst_bytes: int
    queue_bytes: int


def token_bucket(mbps: float) -> TokenBucket:
    """The bucket for a rate in megabits per second.

    The burst is worth two milliseconds: enough for a gigabit to pass in the kernel's large segments, and no more than
    two packets on a slow link, where a larger burst would let a whole activation through as if there were no limit.
    What may wait is worth a tenth of a second, as in a router; TCP's own limits keep it far from full.
    """
    rate = max(1000, round(mbps * 1e6 / 8))
    burst = min(_MOST_BURST_BYTES, max(_LEAST_BURST_BYTES, round(rate * _BURST_S)))
    return TokenBucket(rate, burst, max(_LEAST_QUEUE_BYTES, round(rate * _QUEUE_S)))


def shape(netlink: IPRoute, interface: int, mbps: float, delay_ms: float) -> bool:
    """Make one direction (what leaves by this interface) slow; may be called again. Returns whether it is delayed too.

    False means that a delay was wanted and this kernel has no `netem`; the rate holds all the same.
    """
    bucket = token_bucket(mbps)
    settings = {"rate": bucket.rate_bytes, "burst": bucket.burst_bytes, "limit": bucket.queue_bytes}
    if delay_ms > 0 and _delayed(netlink, interface, delay_ms):
        netlink.tc("replace", "tbf", interface, parent="2:1", handle="3:", **settings)
        return True
    netlink.tc("replace", "tbf", interface, handle="1:", **settings)
    return delay_ms == 0


def _delayed(netlink: IPRoute, interface: int, delay_ms: float) -> bool:
    try:
        netlink.tc("replace", "netem", interface, handle="2:", delay=round(delay_ms * 1000), limit=_PACKETS_ON_THE_WAY)
    except NetlinkError as error:
        if error.code == errno.ENOENT:  # What the kernel says of a discipline that it has not.
            return False
        raise
    return True
