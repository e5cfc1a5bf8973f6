"""Plans for tests, from routes as they are printed."""

from collections.abc import Iterable
from typing import Any, Final

from schemas.plan import Plan, Route
from schemas.plan_text import parse_route

_USUAL: Final[dict[str, Any]] = {
    "deployment": "cats", "generation": 1, "model": "net", "card_sha": "a" * 64, "objective": "latency",
    "policy": "exact",
}  # fmt: skip


def made_up_plan(routes: str | Iterable[Route], **said: Any) -> Plan:
    """A plan of `a[0:3) -> b[3:5) | c[0:5)`, or of routes; what is not said of it does not matter to a test."""
    made = [parse_route(one.strip()) for one in routes.split("|")] if isinstance(routes, str) else routes
    return Plan(routes=tuple(made), **{**_USUAL, **said})
