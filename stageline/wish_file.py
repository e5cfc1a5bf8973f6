"""Deployments in a file, to be kept with the devices' other settings and deployed together.

    [[deployment]]
    model = "efficientnet-lite0"
    name = "cats"
    objective = "latency"
    pin = ["camera=0:3"]
    exclude = ["pi3"]
    weight = 2.0

Every field is named and written like the option of `stageline deploy` that says the same (with `_` for `-`), so there
is one way to write a pin, and one place where it is checked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from schemas.deployment import Deployment
from stageline.wishes import BadWishError, make_wish
from stageline.written_file import BadFileError, Part, read_file

Several = Annotated[tuple[str, ...], Field(strict=False)]


class BadWishFileError(BadFileError):
    """A file of deployments that cannot be used; the message names file and field, and says what to write."""


class WrittenWish(Part):
    """One deployment as written; what is left out is as `stageline deploy` has it."""

    model: str
    name: str | None = None
    objective: str = "latency"
    latency_weight: float = 0.5
    latency_bound_ms: float | None = None
    pin: Several = ()
    exclude: Several = ()
    memory_limit: Several = ()
    threshold: Several = ()
    close_exit: Several = ()
    accuracy_min: float | None = None
    codec: str = "fp32"
    policy: str = "exact"
    side_by_side: bool = True
    weight: float = 1.0

    def wish(self) -> Deployment:
        """The deployment, requested now.

        Raises:
            BadWishError: a value that cannot be understood, that does not exist, or that would not count.
        """
        return make_wish(
            self.model, deployment=self.name, pins=self.pin, memory_limits=self.memory_limit, exclude=self.exclude,
            objective=self.objective, latency_weight=self.latency_weight, latency_bound_ms=self.latency_bound_ms,
            codec=self.codec, policy=self.policy, weight=self.weight,
            thresholds=self.threshold, closed_exits=self.close_exit, accuracy_min=self.accuracy_min,
            side_by_side=self.side_by_side,
        )  # fmt: skip


class WishFile(Part):
    """A whole file."""

    deployment: Annotated[tuple[WrittenWish, ...], Field(min_length=1, strict=False)]


def load_wishes(path: Path) -> tuple[Deployment, ...]:
    """The deployments of a file, in its order, each requested now.

    Raises:
        BadWishFileError: the file or one of its fields cannot be used, or two deployments have one name.
    """
    wishes: list[Deployment] = []
    for number, written in enumerate(read_file(path, WishFile, "deployments", BadWishFileError).deployment, start=1):
        try:
            wish = written.wish()
        except BadWishError as error:
            raise BadWishFileError(path, f"deployment {number}, {_as_fields(str(error))}") from error
        if wish.deployment in {one.deployment for one in wishes}:
            raise BadWishFileError(
                path, f"deployment {number}: another one is called {wish.deployment!r} too; give it a name of its own"
            )
        wishes.append(wish)
    return tuple(wishes)


def _as_fields(problem: str) -> str:
    """Options by the names that they have in the file: `--latency-bound-ms` is `latency_bound_ms`."""
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), problem)
