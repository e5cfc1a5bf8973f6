"""What people are told of decisions: while devices measure, when there is no plan, and who was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from schemas.deployment import Decision, Deployment

_TEXT_MAX: Final = 4096


def no_device(wish: Deployment, left_out: Mapping[str, str]) -> str:
    """What to say when nobody can serve."""
    if left_out:
        mend = "every one of them is left out. Put one of them back, or run `stageline join` on another"
    else:
        mend = "none has joined. Run `stageline join` on a device"
    return (
        f"no device can serve {wish.deployment} now: {mend}; as soon as one is there, this deployment is planned by "
        "itself"
    )


def left_out_text(left_out: Mapping[str, str]) -> str:
    """`Left out: pi4 (did not get ready); nano (excluded).`, or nothing."""
    return f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}." if left_out else ""


def measuring(wish: Deployment, devices: Sequence[str]) -> Decision:
    """What is told while devices measure."""
    return Decision(
        deployment=wish.deployment,
        generation=0,
        requested=wish.requested,
        state="profiling",
        explanation=clip(f"measuring {wish.model} on {', '.join(devices)}"),
    )


def failure(wish: Deployment, error: str, left_out: Mapping[str, str]) -> Decision:
    """What is told when there is no plan."""
    text = ". ".join(part for part in (error, left_out_text(left_out)) if part)
    return Decision(
        deployment=wish.deployment, generation=0, requested=wish.requested, state="failed", error=clip(text)
    )


def clip(text: str) -> str:
    """What fits a message's text field."""
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 3]}..."
