"""How long a submitter waits for an answer, and how often it tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """When to send again and when to stop; seconds and counts."""

    floor_s: float = 1.0
    """No answer is taken for lost sooner than this, however fast the route."""
    grace_s: float = 1.0
    """How long at least a superseded generation may still answer (it drains) before its requests take the new plan."""
    fault_pause_s: float = 0.05
    """Before trying again after a fault; doubles with each attempt."""
    max_attempts: int = 12
    max_stage_failures: int = 2
    """After a stage failed on a request it is tried this many times more, over other routes where there are some."""
