"""Where the planner keeps what it has learned of the fleet, and the facts that plans are made from now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.deployment import Deployment
from schemas.device import LinkMeasure, Profile
from schemas.plan import Plan
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_STAGES, DEVICE_TELEMETRY, Topic
from services.planner.adaptation import Adaptation
from services.planner.device import Device
from services.planner.facts import DeviceFacts
from services.planner.fleet import Fleet
from services.planner.ground import facts_of
from services.planner.sharing import Use, memory_bytes, time_share

_PROBE_S: Final = 1.0
"""What a probe takes at most: one that ends so soon after a load began before its end."""


class Experience:
    """Holds the `Adaptation` of this moment. It starts empty: a planner that starts again trusts profiles first.

    What it finds being served tells it where requests leave (`adopt`), and nothing else.
    """

    def __init__(self, *, adapt: bool = True) -> None:
        """`adapt`: listen to how devices do; otherwise plans are made from profiles, quotas and measured links."""
        self._adapt = adapt
        self._loads_s: dict[str, tuple[float, float]] = {}
        """When each device fetched and built stages last: from, until."""
        self.adaptation = Adaptation()

    def heard(
        self, topic: Topic[Any], parameters: Mapping[str, str], message: Any, fleet: Fleet, serving: Mapping[str, Plan]
    ) -> None:
        """A message has come; see `Adaptation.heard`."""
        now_s = time.monotonic()
        device = parameters.get("device", "")
        if message is None and fleet.loses(device, topic, parameters):
            self._loads_s.pop(device, None)
        if topic is DEVICE_STAGES and message is not None:
            self._note_loading(device, message, now_s)
        if topic is DEVICE_TELEMETRY and message is not None and self._met_a_load(device, message.link, now_s):
            message = message.model_copy(update={"link": None})
        if self._adapt:
            self.adaptation = self.adaptation.heard(
                topic, parameters, message, now_s=now_s, fleet=fleet, serving=serving
            )

    def adopt(self, plans: Iterable[Plan]) -> None:
        """These were served before this planner started: where requests were expected to leave is what is known of it.

        How fast devices really are is not taken over: stage times tell within seconds, and what was off then may have
        been somebody else's load.
        """
        if self._adapt:
            exits = self.adaptation.exits
            for plan in plans:
                exits = exits.adopted(plan)
            self.adaptation = replace(self.adaptation, exits=exits)

    def _note_loading(self, device: str, held: StagesHeld, now_s: float) -> None:
        if any(stage.state == "loading" for stage in held.stages):
            began_s, ended_s = self._loads_s.get(device, (now_s, math.inf))
            self._loads_s[device] = (began_s if ended_s == math.inf else now_s, math.inf)
        elif self._loads_s.get(device, (0.0, 0.0))[1] == math.inf:
            self._loads_s[device] = (self._loads_s[device][0], now_s)

    def _met_a_load(self, device: str, link: LinkMeasure | None, now_s: float) -> bool:
        """Whether a link was measured while weights came over it: then what was left says nothing of its size."""
        if link is None or device not in self._loads_s:
            return False
        began_s, ended_s = self._loads_s[device]
        return began_s < now_s - link.age_s <= ended_s + _PROBE_S

    def facts(
        self,
        wish: Deployment,
        card_sha: str,
        devices: Iterable[tuple[Device, Profile]],
        uses: Sequence[Use],
        *,
        contested: bool = False,
    ) -> tuple[DeviceFacts, ...]:
        """Devices as they are now for one deployment, with all that is known; see `at_rest`."""
        rest = at_rest(wish, devices, uses, contested=contested)
        return self.adaptation.adjusted(rest, card_sha, now_s=time.monotonic())


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
