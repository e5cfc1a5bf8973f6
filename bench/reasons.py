"""Why something was not measured, in one line for people."""

from __future__ import annotations


def reason(error: BaseException) -> str:
    """One line for people: the innermost error of a group, since the group itself says nothing."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
