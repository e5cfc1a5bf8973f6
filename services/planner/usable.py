"""Which devices a deployment can be planned on, and what to mend where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.deployment import Deployment
from schemas.model import ModelCard
from services.planner.errors import PlanningError
from services.planner.facts import DeviceFacts, HubFacts


class NoDeviceError(PlanningError):
    """Nothing to plan on."""


class NoLinkError(PlanningError):
    """The submitter cannot send, so no plan would serve."""


class StaleProfileError(PlanningError):
    """A profile that was measured for another version of the model."""


def usable_devices(
    card: ModelCard, deployment: Deployment, devices: Sequence[DeviceFacts], hub: HubFacts
) -> tuple[DeviceFacts, ...]:
    """Those that are not excluded and whose figures are not `DeviceFacts.beyond` anything real, in the order given.

    Raises:
        NoDeviceError: no device is given, or all are excluded.
        NoLinkError: the submitter's link carries nothing.
        StaleProfileError: a profile with another number of blocks than the card.
    """
    wanted = [device for device in devices if device.name not in deployment.exclude]
    usable = tuple(device for device in wanted if not device.beyond)
    if wanted and not usable:
        raise NoDeviceError(
            f"no device can serve {deployment.deployment}: "
            + "; ".join(f"{device.name}: {device.beyond}" for device in wanted)
        )
    if not usable:
        excluded = f", all excluded: {', '.join(device.name for device in devices)}" if devices else ""
        mend = "Exclude fewer" if devices else "Put one back that is drained (`stageline drain DEVICE --undo`)"
        raise NoDeviceError(
            f"no device can serve {deployment.deployment}: {len(devices)} usable{excluded}. "
            f"{mend}, or start another with `stageline join`"
        )
    if min(hub.submitter_up_mbps, hub.submitter_down_mbps) <= 0:
        raise NoLinkError("the submitter's link carries nothing (0 Mbit/s): check its way to the broker")
    for device in usable:
        if len(device.profile.block_ms) != len(card.blocks):
            raise StaleProfileError(
                f"{device.name} has profiled {len(device.profile.block_ms)} blocks of {card.name}, "
                f"which has {len(card.blocks)}: let it profile again"
            )
    return usable
