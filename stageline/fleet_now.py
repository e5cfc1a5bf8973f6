"""The fleet on the broker as it is now, ready to be planned for without deploying anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broker.bus import Bus
from schemas.deployment import Deployment
from services.planner.fleet import read_fleet
from services.planner.ground import Ground, facts_of
from services.planner.held import held_blocks
from services.planner.side_by_side import shares_rows
from services.planner.usable import NoDeviceError
from services.planner.wording import left_out_text, no_device
from stageline.deploying import NoSuchModelError
from stageline.rows_now import rows_now
from stageline.wishes import strangers


async def ground_now(bus: Bus, wish: Deployment, warn: Callable[[str], None]) -> Ground:
    """Devices that have measured the wished model, and why others are left out.

    Raises:
        NoSuchModelError: the hub does not offer the model.
        NoDeviceError: nothing to plan with; says what would help.
    """
    fleet = await read_fleet(bus)
    for line in strangers(wish, fleet.devices):
        warn(line)
    if wish.model not in fleet.cards:
        raise NoSuchModelError(wish.model, list(fleet.cards))
    card = fleet.cards[wish.model]
    left_out = {name: device.absence for name, device in sorted(fleet.devices.items()) if not device.usable}
    left_out |= dict.fromkeys(wish.exclude, "excluded")
    facts, unmeasured = [], []
    for name, device in fleet.usable.items():
        profile = device.profile_of(card.name, card.sha256)
        if name not in left_out and profile is not None:
            facts.append(facts_of(device, profile, wish.deployment))
        elif name not in left_out:
            left_out[name] = f"has not measured {card.name} yet (`stageline deploy {card.name}` has it measured)"
            unmeasured.append(name)
    if not facts:
        nobody = ". ".join(part for part in (no_device(wish, left_out), left_out_text(left_out)) if part)
        raise NoDeviceError(not_measured(card.name, unmeasured) if unmeasured else nobody)
    workers = [device.worker for device in fleet.devices.values() if device.worker is not None]
    held = held_blocks(card, card.sha256, workers)
    rows = await rows_now(bus, card, warn) if shares_rows(wish) and len(facts) > 1 else None
    return Ground(card, tuple(facts), left_out, held, rows=rows)


def not_measured(model: str, devices: Sequence[str]) -> str:
    """What to say when there is nothing to plan with on paper, though devices are there."""
    have, it = ("have", "them") if len(devices) > 1 else ("has", "it")
    return (
        f"{', '.join(devices)} {have} not measured {model} yet, so nobody knows how fast its blocks would run: "
        f"`stageline deploy {model}` has {it} measure it and serves it"
    )
