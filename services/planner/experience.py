"""Where the planner keeps what it has learned of the fleet, and the facts that plans are made from now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.deployment import Deployment
from schemas.device import Profile
from schemas.plan import Plan
from schemas.topics import Topic
from services.planner.adaptation import Adaptation
from services.planner.device import Device
from services.planner.facts import DeviceFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.sharing import Use, memory_bytes, time_share


class Experience:
    """Holds the `Adaptation` of this moment. It starts empty: a planner that starts again trusts profiles first."""

    def __init__(self, *, adapt: bool = True) -> None:
        """`adapt`: listen to how devices do; otherwise plans are made from profiles, quotas and measured links."""
        self._adapt = adapt
        self.adaptation = Adaptation()

    def heard(
        self, topic: Topic[Any], parameters: Mapping[str, str], message: Any, fleet: Fleet, serving: Mapping[str, Plan]
    ) -> None:
        """A message has come; see `Adaptation.heard`."""
        if self._adapt:
            self.adaptation = self.adaptation.heard(
                topic, parameters, message, now_s=time.monotonic(), fleet=fleet, serving=serving
            )

    def facts(
        self, wish: Deployment, card_sha: str, devices: Iterable[tuple[Device, Profile]], uses: Sequence[Use]
    ) -> tuple[DeviceFacts, ...]:
        """Devices as they are now for one deployment, with all that is known."""
        return self.adaptation.adjusted(at_rest(wish, devices, uses), card_sha, now_s=time.monotonic())


def at_rest(
    wish: Deployment, devices: Iterable[tuple[Device, Profile]], uses: Sequence[Use], *, contested: bool = False
) -> tuple[DeviceFacts, ...]:
    """Facts without experience: what devices measured, and what other deployments leave of them. Pure.

    Args:
        wish: the deployment.
        devices: fully known, with what they measured of its model.
        uses: of all deployments.
        contested: see `services.planner.sharing.memory_bytes`.
    """
    return tuple(
        facts_of(
            device,
            profile,
            wish.deployment,
            time_share=time_share(device.name, wish.deployment, wish.weight, uses),
            memory_bytes=memory_bytes(device.worker, wish.deployment, wish.weight, uses, contested=contested)
            if device.worker is not None
            else None,
        )
        for device, profile in devices
    )
