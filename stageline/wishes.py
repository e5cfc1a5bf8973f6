"""From what people type to a deployment: `--pin cam=0:3`, `--memory-limit pi4=200`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas.base import InvalidNameError, Message, check_name
from schemas.deployment import Deployment, Pin
from schemas.model import ModelCard
from services.planner.exit_rules import ExitWishError, bound_decides, check_exits
from services.planner.policies import UnknownPolicyError, find_policy

M = TypeVar("M", bound=Message)
V = TypeVar("V")


class BadWishError(ValueError):
    """An option of `deploy` or `plan` that cannot be understood; the message shows what one looks like."""


def parse_pin(text: str, option: str = "--pin") -> Pin:
    """`cam=0:3`: blocks 0, 1 and 2 stay on cam. `option` is what the person wrote it for.

    Raises:
        BadWishError: anything else.
    """
    device, _, blocks = text.partition("=")
    first, colon, last = blocks.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise BadWishError(f"{option} {text}: write DEVICE=FIRST:LAST, like cam=0:3 for blocks 0, 1 and 2 on cam")
    return _made(f"{option} {text}", Pin, device=device, first=int(first), last=int(last))


def parse_memory_limit(text: str) -> tuple[str, int]:
    """`pi4=200`: at most 200 MB (10^6 bytes) of stages on pi4, in bytes.

    Raises:
        BadWishError: anything else.
    """
    device, limit = _named_number(f"--memory-limit {text}", "device", text)
    if not 0 <= limit < 1e9:
        raise BadWishError(f"--memory-limit {text}: write DEVICE=MB, like pi4=200")
    return device, int(limit * 1_000_000)


def parse_threshold(text: str, option: str = "--threshold") -> tuple[str, float]:
    """`exit1=0.8`: who is at least 80 % sure leaves at exit1. `option` is what the person wrote it for.

    Raises:
        BadWishError: anything else.
    """
    name, threshold = _named_number(f"{option} {text}", "exit", text)
    if not 0 <= threshold <= 1:
        raise BadWishError(f"{option} {text}: write EXIT=SHARE, from 0 to 1, like exit1=0.8 for who is 80 % sure")
    return name, threshold


def _named_number(typed: str, kind: str, text: str) -> tuple[str, float]:
    """`NAME=NUMBER`; -1 for what is no number. Raises BadWishError for what no `kind` can be called."""
    name, _, number = text.partition("=")
    try:
        value = float(number)
        check_name(kind, name)
    except InvalidNameError as error:
        raise BadWishError(f"{typed}: {error}") from None
    except ValueError:
        value = -1.0
    return name, value


def parse_thresholds(texts: Iterable[str], option: str = "--threshold") -> dict[str, float]:
    """All that was given for exits, by exit.

    Raises:
        BadWishError: one that cannot be understood, or two for one exit.
    """
    return _once((parse_threshold(text, option) for text in texts), option)


def make_wish(
    model: str,
    *,
    deployment: str | None = None,
    pins: Sequence[str] = (),
    memory_limits: Sequence[str] = (),
    exclude: Sequence[str] = (),
    thresholds: Sequence[str] = (),
    closed_exits: Sequence[str] = (),
    **fields: Any,
) -> Deployment:
    """A deployment of `model`, named like it unless said otherwise, requested now.

    Raises:
        BadWishError: an option that cannot be understood, that has no such value, or that would not count.
    """
    if thresholds and fields.get("accuracy_min") is not None:
        raise BadWishError(
            "--threshold and --accuracy-min: thresholds are given, or chosen for an accuracy; leave one of them out"
        )
    given = parse_thresholds(thresholds)
    if both := sorted(given.keys() & set(closed_exits)):
        raise BadWishError(
            f"--threshold {both[0]}=... and --close-exit {both[0]}: an exit has a threshold, or nobody leaves there; "
            "leave one of them out"
        )
    wish = _made(
        "deployment",
        Deployment,
        deployment=deployment or model,
        model=model,
        pins=tuple(parse_pin(text) for text in pins),
        memory_limit_bytes=_once(map(parse_memory_limit, memory_limits), "--memory-limit"),
        exclude=tuple(exclude),
        thresholds=given,
        closed_exits=tuple(closed_exits),
        requested=time.time(),
        **fields,
    )
    if wish.latency_bound_ms is not None and wish.objective not in ("throughput", "latency"):
        raise BadWishError(bound_without_use(wish))
    try:
        find_policy(wish.policy)
    except UnknownPolicyError as error:
        raise BadWishError(f"--policy: {error}") from None
    return wish


def _once(pairs: Iterable[tuple[str, V]], option: str) -> dict[str, V]:
    """By name; which of two numbers for one name was meant, nobody knows."""
    found: dict[str, V] = {}
    for name, value in pairs:
        if name in found:
            raise BadWishError(f"{option} {name}=...: {name} is given twice; leave one of them out")
        found[name] = value
    return found


def bound_without_use(wish: Deployment) -> str:
    """What to say of a latency bound that nothing is held against."""
    counts = "--latency-bound-ms only counts with --objective throughput"
    if wish.objective == "latency":
        return f"{counts}, or with latency where it chooses among calibrated exits, and here it cannot: leave it out"
    return f"{counts}, not with {wish.objective}: leave one out"


def check_exit_wish(wish: Deployment, card: ModelCard) -> None:
    """Whether what is wished of exits can be had of this model, whatever devices there are.

    Raises:
        BadWishError: it cannot; says what there is.
    """
    try:
        check_exits(card, wish)
    except ExitWishError as error:
        raise BadWishError(str(error)) from None
    if wish.latency_bound_ms is not None and wish.objective == "latency" and not bound_decides(card, wish):
        raise BadWishError(bound_without_use(wish))


def strangers(wish: Deployment, known: Iterable[str]) -> list[str]:
    """A line for each option that names a device nobody has heard of, and so changes nothing now."""
    known = sorted(known)
    have = f"devices there are: {', '.join(known)}" if known else "no device has joined"
    named = [("--exclude", name) for name in wish.exclude] + [
        ("--memory-limit", name) for name in wish.memory_limit_bytes
    ]
    return [f"{option} {name}: nobody has heard of this device ({have})" for option, name in named if name not in known]


def _made(what: str, kind: type[M], **fields: Any) -> M:
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = _option(str(first["loc"][0])) if first["loc"] else what
        given = "" if not first["loc"] else f" {fields[str(first['loc'][0])]!r}"
        raise BadWishError(f"{name}{given}: {str(first['msg']).removeprefix('Value error, ')}") from None


def _option(field: str) -> str:
    """What people type for a field of a deployment."""
    written = {"deployment": "name", "thresholds": "threshold", "closed_exits": "close-exit"}
    return f"--{written.get(field, field.replace('_', '-'))}"
