"""One thing changed in what was asked for, without asking for all the rest again. Pure: a wish in, a wish out."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import check_name
from schemas.deployment import Deployment, Pin
from stageline.wishes import BadWishError, parse_pin


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


def _pin(text: str) -> Pin:
    return parse_pin(text, "pin")


def _written(pin: Pin) -> str:
    return f"{pin.device}={pin.first}:{pin.last}"
