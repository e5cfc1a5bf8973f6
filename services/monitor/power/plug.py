"""Smart plugs tell their watts on MQTT already: Tasmota, Zigbee2MQTT, or a bare number (Shelly, ESPHome)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Final

STALE_AFTER_S: Final = 900.0
"""Tasmota tells every 300 s unless told otherwise; three missed tellings are silence."""
_MAX_BYTES: Final = 64 << 10


class PlugPayloadError(ValueError):
    """A message on the plug's topic that tells no watts."""


def parse_plug(payload: bytes) -> float:
    """Watts from `{"ENERGY": {"Power": 5.2}}` (a list: one per socket), `{"power": 5.2}` or `5.2`.

    Raises:
        PlugPayloadError: says what was there instead.
    """
    if len(payload) > _MAX_BYTES:
        raise PlugPayloadError(f"{len(payload)} bytes is too much for a plug's message")
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise PlugPayloadError(f"not JSON: {error}") from error
    if isinstance(told, dict):
        energy = told.get("ENERGY")
        told = energy.get("Power") if isinstance(energy, dict) else told.get("power")
    sockets = told if isinstance(told, list) else [told]
    if not sockets or not all(_is_watts(socket) for socket in sockets):
        raise PlugPayloadError(
            "no watts in it: expected ENERGY.Power (Tasmota), power (Zigbee2MQTT) or a bare number; "
            "is STAGELINE_PLUG_TOPIC the topic of the plug's readings?"
        )
    return float(sum(sockets))


def _is_watts(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1e5  # type: ignore[arg-type,operator]  # it is a number


class Plug:
    """What the plug said last; give it every message on its topic."""

    def __init__(self, topic: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = topic
        self._clock = clock
        self._heard_at = float("-inf")
        self._last = 0.0

    @property
    def source(self) -> str:
        """Names the topic."""
        return f"smart plug, topic {self.topic}"

    def hear(self, payload: bytes) -> None:
        """Take one message in.

        Raises:
            PlugPayloadError: it tells no watts; what was heard before still counts.
        """
        self._last = parse_plug(payload)
        self._heard_at = self._clock()

    async def watts(self) -> float | None:
        """What it last said, or None when it has been silent too long."""
        return self._last if self._clock() - self._heard_at < STALE_AFTER_S else None
