"""Telling systemd how a service is (the protocol of sd_notify(3)); started by anything else, nobody is told.

The variables read here are systemd's own: NOTIFY_SOCKET and WATCHDOG_USEC are set by a unit's `Type=notify` and
`WatchdogSec=`, and are no settings of ours.
"""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger(__name__)


def somebody_listens() -> bool:
    """There is somebody to tell."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def watchdog_s() -> float | None:
    """Within how many seconds each sign of life must follow the one before; None: nobody waits for any."""
    wanted_us = os.environ.get("WATCHDOG_USEC", "")
    whose = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    return int(wanted_us) / 1e6 if wanted_us.isdecimal() and int(wanted_us) and whose == str(os.getpid()) else None


def notify(**assignments: str | int) -> bool:
    """Send assignments like `READY=1`, all in one message; a name is given in small letters (`ready=1`).

    Never waits: systemd that does not read must not hold up the event loop. False: it was not sent, and this is logged.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return True
    lines = (f"{name.upper()}={' '.join(str(value).split())}" for name, value in assignments.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
            messenger.setblocking(False)
            # A leading `@` stands for the zero byte of an abstract address.
            messenger.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            messenger.send("\n".join(lines).encode("utf-8", "replace"))
    except OSError as error:
        logger.warning("systemd was not told: %s", error, extra={"notify_socket": address})
        return False
    return True
