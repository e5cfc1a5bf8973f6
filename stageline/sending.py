"""What can be done about a request: send it, now and over this route, or give it up."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.plan import Plan


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request now, over route `route` of `plan`."""

    request: str
    attempt: int
    plan: Plan
    route: int
    budget_ms: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This request has failed; nothing more will come of it."""

    request: str
    reason: str
    detail: str
    device: str = ""
    sent: int = field(default=0, compare=False)
    """Attempts that the broker took: 0 says nothing of the request, only of the line."""
