"""What a journal keeps of a request, from the hand-over until its outcome has been shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.gateway import Delivered
from stageline.inputs import FileContent


@dataclass(frozen=True, slots=True)
class Handover:
    """A request on its way into the journal; `deadline` in Unix time."""

    request: str
    deployment: str
    content: FileContent
    deadline: float


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that has no outcome yet."""

    number: int
    """Its place in the order of handing over."""
    request: str
    deployment: str
    content: FileContent
    handed_over: float
    deadline: float
    tries: int
    """Failed deliveries that the request itself may have caused."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it: the document that is shown, and the model's outputs as an .npz file (empty: it failed)."""

    delivered: Delivered
    outputs: bytes = field(default=b"", repr=False)

    @property
    def request(self) -> str:
        """Whose."""
        return self.delivered.request


@dataclass(frozen=True, slots=True)
class Failure:
    """One of the latest requests that failed."""

    request: str
    deployment: str
    name: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """A request whose outcome cannot be shown before somebody mends what `why` says."""

    request: str
    deployment: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many requests of one deployment are where; bytes of inputs that wait and of outcomes that do."""

    deployment: str
    open: int
    """Handed over, without an outcome."""
    aside: int
    """With an outcome that cannot be shown."""
    arriving: int
    """With an outcome that is being shown."""
    answered: int
    failed: int
    waiting_bytes: int
    oldest_open: float | None
    """Unix time at which the oldest of the open ones was handed over."""
