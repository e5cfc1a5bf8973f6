"""The vocabulary of a rollout: what can happen to a deployment, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.deployment import Decision, Deployment
from schemas.plan import Plan
from schemas.stages import StagesHeld


# --- events ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody published a wish, or took it back (None)."""

    wish: Deployment | None


@dataclass(frozen=True, slots=True)
class Profiling:
    """The decision waits for devices to measure the model."""

    ticket: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Planned:
    """The answer to a `Decide`; the generation inside is filled in here."""

    ticket: int
    plan: Plan
    decision: Decision


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a `Decide` that found no plan; `decision.error` says why."""

    ticket: int
    decision: Decision
    claims: frozenset[str] = frozenset()
    """Devices on which there would be room if others kept to their share,"""
    over: tuple[str, ...] = ()
    """and the deployments that hold more than that there."""


@dataclass(frozen=True, slots=True)
class Held:
    """A worker reported what it holds."""

    held: StagesHeld


@dataclass(frozen=True, slots=True)
class Lost:
    """A device cannot be counted on: it is gone, drained, or came back in a new life with nothing loaded."""

    device: str
    why: str = "it was lost"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A device is there and does not do its part of the plan of this generation: what it is given comes to nothing."""

    generation: int
    device: str
    why: str


@dataclass(frozen=True, slots=True)
class Drifted:
    """A review found a plan worth moving to from the one being served, which is of this generation."""

    generation: int
    plan: Plan
    decision: Decision


@dataclass(frozen=True, slots=True)
class Squeezed:
    """Another deployment needs its share of memory that this one holds."""

    by: str


@dataclass(frozen=True, slots=True)
class Improved:
    """A device became usable or measured (its name), or the library changed (None): what failed may work now."""

    device: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Wanted | Profiling | Planned | Refused | Held | Lost | Unfit | Drifted | Squeezed | Improved | Tick
Tell = Callable[[Event], None]
"""Where somebody says what happened."""


# --- actions ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Decide:
    """Make a plan for `wish` without the devices of `excluded` (why, by name); drops every earlier `Decide`.

    `serving` is the plan that has answered this very wish until now: what survives of it is worth keeping.
    """

    ticket: int
    wish: Deployment
    excluded: Mapping[str, str]
    serving: Plan | None = None
    cause: str = "asked for"
    """Why now."""
    hurry: bool = False
    """Answers are missing: plan with who has measured already, unless there is no plan without the others."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Whatever is being decided is no longer wanted."""


@dataclass(frozen=True, slots=True)
class PublishNext:
    """Have the workers prepare this plan."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PublishCurrent:
    """Every stage is ready: let submitters switch."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class ClearNext:
    """Nothing is being prepared any more."""


@dataclass(frozen=True, slots=True)
class ClearCurrent:
    """Nothing is served any more."""


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Have other deployments make room."""

    deployments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishDecision:
    """Tell what was decided and why."""

    decision: Decision


Action = Decide | Forget | PublishNext | PublishCurrent | ClearNext | ClearCurrent | Squeeze | PublishDecision
