"""How much memory stages may take here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.worker.assignments import Slice, StageKey
from services.worker.following import Held

FREE_SHARE: Final = 0.45
"""Share of the free memory that is offered to stages unless the settings say more: while one plan follows another,
both are held, and that must fit too."""

MEASURING_SHARE: Final = 0.75
"""Share of the free memory that measuring a model may take: building a block briefly takes its weights once more, and
what runs beside it grows, too."""


class MemoryRefusedError(Exception):
    """A stage that does not fit; the message says what it needs and what there is."""


def default_budget_bytes(memory_free_bytes: int) -> int:
    """What stages may take when nobody said, from the memory that is free as the worker starts."""
    return int(FREE_SHARE * memory_free_bytes)


def for_measuring_bytes(budget_bytes: int, held_bytes: int, free_bytes: int) -> int:
    """What may be taken to measure a model: what stages leave of the budget, and never all that is free.

    An owner may lend more than there is. A stage that does not fit is refused then (`check_fit`); blocks that are
    measured together would only be killed.
    """
    return max(0, min(budget_bytes - held_bytes, int(MEASURING_SHARE * free_bytes)))


def lasting(held: Mapping[StageKey, Held], newcomer: StageKey) -> frozenset[Slice]:
    """Slices that share the memory budget with `newcomer` once its plan has taken over.

    Only the newest generation of each deployment counts, and a slice that several stages share counts once.
    """
    newest: dict[str, int] = {}
    for key in held:
        newest[key.deployment] = max(key.generation, newest.get(key.deployment, 0))
    newest[newcomer.deployment] = newcomer.generation
    return frozenset(
        one.assignment.slice
        for key, one in held.items()
        if key != newcomer and key.generation == newest[key.deployment] and one.state in ("loading", "ready")
    )


def check_fit(slice_: Slice, need_bytes: int, others: Mapping[Slice, int], budget_bytes: int, free_bytes: int) -> None:
    """Refuse a stage that this device should not try to hold.

    Args:
        slice_: what is to be loaded.
        need_bytes: what it takes while it runs.
        others: bytes of the slices that share the budget; `slice_` itself is not counted twice.
        budget_bytes: what this worker gives to stages in all.
        free_bytes: memory that the system has free now.

    Raises:
        MemoryRefusedError: over the budget, or more than is free.
    """
    taken = sum(need for other, need in others.items() if other != slice_)
    which = f"blocks [{slice_.first}:{slice_.last})"
    if taken + need_bytes > budget_bytes:
        besides = f", of which other stages take {_mb(taken)}" if taken else ""
        raise MemoryRefusedError(
            f"{which} need {_mb(need_bytes)}, this worker gives {_mb(budget_bytes)} to stages{besides}: "
            "use more devices or raise STAGELINE_MEMORY_BUDGET_MB"
        )
    if need_bytes > free_bytes:
        raise MemoryRefusedError(
            f"{which} need {_mb(need_bytes)}, only {_mb(free_bytes)} are free on this device now: "
            "stop other programs or use more devices"
        )


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB"
