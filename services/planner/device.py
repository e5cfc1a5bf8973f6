"""One device as the planner knows it: immutable, folded from what its monitor, its worker and people say of it.

A device has two voices, its monitor (status, info, telemetry) and its worker (stages, profiles), each with its own
boot id. Messages of an earlier life are told from those of the present one (`services.planner.lives`), so that a late
will cannot bury a device that is already back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.device import DeviceInfo, DeviceStatus, Duty, LinkMeasure, Profile, Telemetry
from schemas.stages import StagesHeld
from schemas.topics import (
    DEVICE_DUTY,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    Topic,
)
from services.planner.lives import Overruled, of_the_past, past

DEVICE_TOPICS: Final[tuple[Topic[Any], ...]] = (
    DEVICE_STATUS, DEVICE_INFO, DEVICE_TELEMETRY, DEVICE_PROFILE, DEVICE_STAGES, DEVICE_DUTY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Device:
    """All that one device has said; None where it has not said it yet."""

    name: str
    status: DeviceStatus | None = None
    info: DeviceInfo | None = None
    telemetry: Telemetry | None = None
    worker: StagesHeld | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    duty: Duty | None = None
    past_monitors: tuple[str, ...] = ()
    past_workers: tuple[str, ...] = ()
    overruled: Overruled | None = None
    """What a monitor says whose life is thought to be over, since the present one spoke last."""
    doubted: bool = False
    """The broker's word for it is old: the worker has not spoken since the planner (re)connected."""
    hung: str = ""
    """Why its worker counts as lost though the broker has heard nothing of its end; empty when it does not."""

    @property
    def usable(self) -> bool:
        """May be planned with: its worker is there, what it is and how it is linked are known, and it is to serve."""
        return self.absence == ""

    @property
    def absence(self) -> str:
        """Why it may not be planned with; empty when it may."""
        return self.gone or self._withheld

    @property
    def gone(self) -> str:
        """Why nothing that it holds can be counted on any more; empty when it works."""
        if self.worker is None:
            return "no worker has joined (start stageline-worker there, or `stageline join`)"
        if not self.worker.online:
            return f"its worker is offline{f' ({self.worker.reason})' if self.worker.reason else ''}"
        return self.hung

    @property
    def _withheld(self) -> str:
        if self.draining:
            why = self.duty.reason if self.duty else ""
            return f"it is being drained{f' ({why})' if why else ''}: `stageline drain {self.name} --undo` ends that"
        if self.info is None:
            return "its monitor has not said what the device is (start stageline-monitor there)"
        if self.link is None:
            return "its monitor has not measured its link yet"
        return ""

    @property
    def draining(self) -> bool:
        """People want its work moved away."""
        return self.duty is not None and self.duty.duty == "drain"

    @property
    def link(self) -> LinkMeasure | None:
        """The last measured link to the broker."""
        return self.telemetry.link if self.telemetry else None

    @property
    def stale(self) -> bool:
        """The monitor is down: telemetry and link are its last words."""
        return self.status is None or not self.status.online

    @property
    def forgotten(self) -> bool:
        """Nothing is left of it on the broker."""
        said = (self.status, self.info, self.telemetry, self.worker, self.duty)
        return not self.profiles and all(one is None for one in said)

    @property
    def capacity_cores(self) -> float:
        """Cores it may use now; 0 when it has not said."""
        if self.telemetry is not None:
            return self.telemetry.capacity_cores
        return self.info.capacity_cores if self.info else 0.0

    @property
    def online(self) -> bool:
        """Its worker is there, by the broker's word."""
        return self.worker is not None and self.worker.online

    @property
    def loading(self) -> bool:
        """Its worker builds a stage now."""
        return self.worker is not None and any(stage.state == "loading" for stage in self.worker.stages)

    @property
    def boot(self) -> str:
        """The present life of its worker; empty when none has joined."""
        return self.worker.boot_id if self.worker else ""

    def profile_of(self, model: str, card_sha: str) -> Profile | None:
        """Its measured block times of exactly this model; None when nobody knows how fast it runs it.

        They were measured at `Profile.capacity_cores`: what it may use now may be more or less by now, and costs are
        scaled by that, so that nobody has to measure while it serves.
        """
        profile = self.profiles.get(model)
        if profile is None or self.worker is None or profile.card_sha != card_sha:
            return None
        if (profile.backend, profile.threads) != (self.worker.backend, self.worker.threads):
            return None
        return profile

    def with_message(
        self,
        topic: Topic[Any],
        parameters: Mapping[str, str],
        message: Any | None,
        *,
        retained: bool,
        awaited: bool = False,
    ) -> Device:
        """The device after one message of DEVICE_TOPICS; itself when that is no news. See `Fleet.with_message`."""
        changes: dict[str, Any] = {}
        if topic is DEVICE_PROFILE:
            changes = {"profiles": put(self.profiles, parameters["model"], message)}
        elif topic is DEVICE_DUTY:
            changes = {"duty": message}
        elif topic is DEVICE_STATUS:
            if not of_the_past(self.status, message, self.past_monitors, retained=retained):
                changes = {"status": message, "past_monitors": past(self.past_monitors, self.status, message)}
        elif topic is DEVICE_STAGES:
            awaited |= self.doubted or bool(self.hung)
            if not of_the_past(self.worker, message, self.past_workers, retained=retained, awaited=awaited):
                changes = {
                    "worker": message,
                    "past_workers": past(self.past_workers, self.worker, message),
                    "doubted": self.doubted and retained,
                }
        elif message is None or message.boot_id not in self.past_monitors:
            changes = {"info": message} if topic is DEVICE_INFO else {"telemetry": _with_last_link(message, self.link)}
            changes["overruled"] = None
        elif not retained:
            overruled = (self.overruled or Overruled(message.boot_id)).with_word(message)
            return self._under(overruled) if overruled.believed else replace(self, overruled=overruled)
        return replace(self, **changes) if changes else self

    def _under(self, overruled: Overruled) -> Device:
        """With a monitor that is there after all."""
        status = DeviceStatus(device=self.name, boot_id=overruled.boot, online=True)
        return replace(
            self,
            status=status,
            past_monitors=past(self.past_monitors, self.status, status),
            info=overruled.info or self.info,
            telemetry=_with_last_link(overruled.telemetry, self.link),
            overruled=None,
        )


def put(mapping: Mapping[str, Any], key: str, value: Any | None) -> dict[str, Any]:
    """The mapping with one entry replaced, or without it (None)."""
    rest = {name: kept for name, kept in mapping.items() if name != key}
    return rest if value is None else {**rest, key: value}


def _with_last_link(telemetry: Telemetry | None, link: LinkMeasure | None) -> Telemetry | None:
    """A monitor that has just started again has not measured yet; what the one before it found is still the best."""
    if telemetry is None or telemetry.link is not None or link is None:
        return telemetry
    return telemetry.model_copy(update={"link": link})
