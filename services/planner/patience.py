"""How long a rollout waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, seconds."""

    room_s: float = 3.0
    """Before another try when other deployments have been told to make room."""

    ready_s: float = 60.0
    """For a device to get ready, counted from its last progress,"""
    ready_most_s: float = 1800.0
    """and in all."""
    absent_s: float = 2.0
    """For a device that serves and says that it does not hold its stages."""
    retry_s: float = 30.0
    """Before another try when there was no plan: devices that were left out get another chance then."""
    out_s: float = 300.0
    """Before a device that was left out is considered again beside a plan that serves; twice as long each time."""
    settle_s: float = 1.0
    """After a device joined and before planning with it: machines switched on together are planned together."""
