"""Devices that do not do their part of a plan: who they are, and for how long plans are made without them. Pure.

A device that fails, dawdles, or does not hold what it should serve is planned around. It gets another chance when it
has a new life or measured anew, when there is no plan without it, and beside a plan that serves after
`Patience.out_s`, twice as long each further time: then reviews consider it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from services.planner.doubling import doubled
from services.planner.evidence import Evidence
from services.planner.patience import Patience
from services.planner.rollout_state import Absence, Rollout, Step, ask, stay

STEP: Final = 0.01
"""Less than this is no progress: a device that crawls does not hold a plan up for ever."""
_TIMES_LONGER_MOST: Final = 256
"""A device that is left out again and again is, than one that is left out once."""


def leave_out(
    rollout: Rollout, reasons: Mapping[str, str], now_s: float, patience: Patience, *, needed: bool = False
) -> Step:
    """Plan without some devices; where they were only wanted for something better, go on with what there is."""
    outs = {device: rollout.outs.get(device, 0) + 1 for device in reasons}
    most_s = patience.out_s * _TIMES_LONGER_MOST
    until_s = {device: now_s + doubled(patience.out_s, times - 1, most_s) for device, times in outs.items()}
    rollout = replace(
        rollout,
        excluded={**rollout.excluded, **reasons},
        outs={**rollout.outs, **outs},
        until_s={**rollout.until_s, **until_s},
    )
    if rollout.optional and not needed:
        return stay(rollout)
    return ask(rollout, "; ".join(f"{device} {why}" for device, why in reasons.items()), hurry=needed)


def reconsidered(rollout: Rollout, now_s: float) -> Rollout:
    """With those left out no longer whose time is over."""
    left = {device: why for device, why in rollout.excluded.items() if now_s < rollout.until_s.get(device, 0.0)}
    return replace(rollout, excluded=left) if len(left) < len(rollout.excluded) else rollout


def with_absence(rollout: Rollout, device: str, said: Evidence, now_s: float) -> Rollout:
    """After a device of `current` said whether it holds its stages of it."""
    known = rollout.absent.get(device)
    if said.absent == (known.why if known else ""):
        return rollout
    rest = {name: one for name, one in rollout.absent.items() if name != device}
    new = {device: Absence(now_s, said.absent, said.loading)} if said.absent else {}
    return replace(rollout, absent={**rest, **new})


def absent_too_long(rollout: Rollout, now_s: float, patience: Patience) -> dict[str, str]:
    """Devices that have not held their stages of `current` for longer than that may be, and what is said of it."""
    return {
        device: f"{one.why} for {now_s - one.since_s:.1f} s"
        for device, one in rollout.absent.items()
        if now_s - one.since_s >= (patience.ready_s if one.loading else patience.absent_s)
    }


def late(rollout: Rollout, now_s: float, patience: Patience) -> dict[str, str]:
    """Devices of `next` that get ready too slowly, and why that is said."""
    waited = {device: heard_s for device, heard_s in rollout.heard_s.items() if device not in rollout.ready}
    if now_s - rollout.began_s >= patience.ready_most_s:
        return dict.fromkeys(waited, f"did not get ready within {patience.ready_most_s:g} s")
    return {
        device: f"did not get ready: no progress for {patience.ready_s:g} s"
        for device, heard_s in waited.items()
        if now_s - heard_s >= patience.ready_s
    }
