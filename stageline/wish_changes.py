"""One thing changed in what was asked for, without asking for all the rest again. Pure: a wish in, a wish out."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import check_name
from schemas.deployment import Deployment, Pin
from stageline.wishes import BadWishError, parse_pin, parse_threshold


def excluding(wish: Deployment, devices: Sequence[str]) -> Deployment:
    """The wish without these devices; those it excludes already stay excluded.

    Raises:
        schemas.base.InvalidNameError: what cannot name a device.
    """
    new = dict.fromkeys(check_name("device", device) for device in devices if device not in wish.exclude)
    return wish.model_copy(update={"exclude": (*wish.exclude, *new)})


def including(wish: Deployment, devices: Sequence[str]) -> Deployment:
    """The wish with these devices again.

    Raises:
        BadWishError: one that is not excluded.
    """
    for device in devices:
        if device not in wish.exclude:
            have = f"it excludes {', '.join(wish.exclude)}" if wish.exclude else "it excludes no device"
            raise BadWishError(f"{wish.deployment} does not exclude {device!r}: {have}")
    return wish.model_copy(update={"exclude": tuple(one for one in wish.exclude if one not in devices)})


def pinning(wish: Deployment, pins: Sequence[str]) -> Deployment:
    """The wish with these pins, written like `camera=0:3`, besides those that it has.

    Raises:
        BadWishError: what cannot be understood.
    """
    new = dict.fromkeys(pin for pin in map(_pin, pins) if pin not in wish.pins)
    return wish.model_copy(update={"pins": (*wish.pins, *new)})


def unpinning(wish: Deployment, pins: Sequence[str]) -> Deployment:
    """The wish without these pins: one as it was written (`camera=0:3`), or all of a device (`camera`).

    Raises:
        BadWishError: there is no such pin, or what cannot be understood.
    """
    left = list(wish.pins)
    for text in pins:
        gone = [pin for pin in left if (pin == _pin(text) if "=" in text else pin.device == text)]
        if not gone:
            have = f"it has {', '.join(map(_written, wish.pins))}" if wish.pins else "it has none"
            raise BadWishError(f"{wish.deployment} has no pin {text}: {have}")
        left = [pin for pin in left if pin not in gone]
    return wish.model_copy(update={"pins": tuple(left)})


def exits_set(
    wish: Deployment, thresholds: Sequence[str], *, close: Sequence[str] = (), usual: Sequence[str] = ()
) -> Deployment:
    """The wish with these thresholds (`exit1=0.8`) and closed exits; those named `usual` are as calibrated again.

    Thresholds given by hand take the place of what would choose them: a least accuracy, and, where the latency is
    minimised, a bound on it.

    Raises:
        BadWishError: what cannot be understood, or an exit named twice.
    """
    given = [parse_threshold(text, "threshold") for text in thresholds]
    named = [*(name for name, _ in given), *close, *usual]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise BadWishError(f"{twice[0]} is named twice: give it a threshold, close it, or have it as calibrated")
    kept = {name: threshold for name, threshold in wish.thresholds.items() if name not in named}
    closed = tuple(name for name in wish.closed_exits if name not in named)
    update: dict[str, object] = {
        "thresholds": {**kept, **dict(given)},
        "closed_exits": (*closed, *(check_name("exit", name) for name in close)),
    }
    if given:
        update["accuracy_min"] = None
        if wish.objective == "latency":
            update["latency_bound_ms"] = None
    return wish.model_copy(update=update)


def accuracy_kept(wish: Deployment, accuracy: float) -> Deployment:
    """The wish for so accurate thresholds, in the place of any that were given."""
    return wish.model_copy(update={"accuracy_min": accuracy, "thresholds": {}})


def _pin(text: str) -> Pin:
    return parse_pin(text, "pin")


def _written(pin: Pin) -> str:
    return f"{pin.device}={pin.first}:{pin.last}"
