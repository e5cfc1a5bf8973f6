"""How a device is doing now: what others leave of it, heat, and its link; immutable, folded from what it says.

    conditions = conditions.with_telemetry("pi4", telemetry, now_s).with_timing("pi4", timing, now_s)
    share = conditions.free_share("pi4")

Telemetry tells how busy everything on the device is, and its worker's heartbeat how much of that is our own work:

    others = load - (worker's cpu_s / period_s + monitor_cpu) / capacity_cores

Work that others do leaves us the rest, but never less than a fair scheduler would: where somebody spins and our worker
waits for frames, all of the processor is busy, and half of it is ours as soon as we ask for it.

Times are seconds of one clock that only grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.device import LinkMeasure, Telemetry, Throttling
from schemas.stages import Timing
from services.planner.facts import FREE_SHARE_MIN
from services.planner.moving_average import NO_SAMPLES, Pace, Steady

FAIR_SHARE: Final = 0.5
"""Of the processor, that a scheduler gives us against one who always wants it."""
SILENT_PERIODS: Final = 3.0
"""A heartbeat that is older than so many of its periods tells nothing about now."""
CLEAR_S: Final = 5.0
"""A device whose worker has not been heard for so long since its monitor was has none."""
LOAD_PACE: Final = Pace(slow=20.0, quick=3.0, jump=0.15)
"""Seconds; shares of the capacity."""
LINK_PACE: Final = Pace(slow=6.0, quick=0.5, jump=0.65)
"""Measurements; natural logarithms of rates and round trips. Monitors tell medians, so single ones that are far off do
not come."""
SETTLING_PERIODS: Final = 2.0
"""Of heartbeats, around the moment when another quota is told of: stage times are of the old one, the new one, or
both."""
CAPACITY_STEP: Final = 0.05
"""A capacity that changes by more than this share is another quota, and what was seen under the old one is over."""

_HEAT: Final = (
    ("throttled", 0.6),
    ("under_voltage", 0.7),
    ("frequency_capped", 0.75),
    ("soft_temperature_limit", 0.85),
)
"""What is left of the clock rate while the firmware says so: a Raspberry Pi 4 falls from 1500 to 600..1200 MHz. What
these are off by, corrections learn."""
_LEAST_MBPS: Final = 1e-3
_LEAST_MS: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of one device; `Conditions` keeps it."""

    capacity_cores: float = 0.0
    stepped_s: float = -math.inf
    """When it got another quota last."""
    first_s: float = -math.inf
    """When its monitor was heard first,"""
    heard_s: float = -math.inf
    """and last."""
    others: Steady = NO_SAMPLES
    """Share of the capacity that neither its worker nor its monitor uses; not clamped, so that noise has no bias."""
    heat: float = 1.0
    link: LinkMeasure | None = None
    """The last measurement, as told."""
    up: Steady = NO_SAMPLES
    down: Steady = NO_SAMPLES
    rtt: Steady = NO_SAMPLES
    own_cores: float = 0.0
    own_up_mbps: float = 0.0
    own_down_mbps: float = 0.0
    beat_s: float = -math.inf
    """Of its worker's last heartbeat,"""
    period_s: float = 1.0
    """and how often they come."""

    def beating(self, now_s: float) -> bool:
        """Its worker said lately what it does."""
        return now_s - self.beat_s <= SILENT_PERIODS * max(self.period_s, 1e-3)

    def unclear(self, now_s: float) -> bool:
        """Nobody can tell whose the load is: its worker could not have been heard yet, or is not heard any more."""
        if self.beat_s == -math.inf:
            return now_s - self.first_s <= CLEAR_S
        return not self.beating(now_s)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of every device that has said something."""

    devices: Mapping[str, Condition] = field(default_factory=dict)

    def with_telemetry(self, device: str, telemetry: Telemetry, now_s: float) -> Conditions:
        """After a monitor's report that came at `now_s`."""
        return self._with(device, _with_telemetry(self._of(device), telemetry, now_s))

    def with_timing(self, device: str, timing: Timing, now_s: float) -> Conditions:
        """After a worker's heartbeat that came at `now_s`."""
        period_s = max(timing.period_s, 1e-3)
        rate = 8e-6 / period_s
        beat = replace(
            self._of(device),
            own_cores=timing.cpu_s / period_s,
            own_up_mbps=sum(stage.bytes_out for stage in timing.stages) * rate,
            own_down_mbps=sum(stage.bytes_in for stage in timing.stages) * rate,
            beat_s=now_s,
            period_s=timing.period_s,
        )
        return self._with(device, beat)

    def without(self, device: str) -> Conditions:
        """With nothing known of a device: it is gone, or is another one now."""
        return Conditions({name: one for name, one in self.devices.items() if name != device})

    def free_share(self, device: str, *, threads: int = 0) -> float:
        """What we get of the device if we ask for it, as a share of what it measured in peace, 0.05..1.

        1.0 for a device that has said nothing. Does not contain its capacity (`capacity_cores`), whose changes are
        exact, nor what several deployments take from each other. What a monitor said last holds until it says
        something else.

        Args:
            device: which.
            threads: that its worker computes with; where they are fewer than the cores, others first take those
                that we do not use. 0: one per core.
        """
        known = self._of(device)
        return min(1.0, max(FREE_SHARE_MIN, _left(known, threads) * known.heat))

    def own_share(self, device: str, now_s: float) -> float:
        """Share of its capacity that its worker uses, 0..1; 0 when its heartbeat is old."""
        known = self._of(device)
        if not known.beating(now_s) or known.capacity_cores <= 0:
            return 0.0
        return min(1.0, known.own_cores / known.capacity_cores)

    def stepped_s(self, device: str) -> float:
        """When it got another quota last; -inf when it has not."""
        return self._of(device).stepped_s

    def settle_s(self, device: str) -> float:
        """So long before and after it is told of another quota, its heartbeats may be of a time under both."""
        return SETTLING_PERIODS * max(self._of(device).period_s, 1e-3)

    def capacity_cores(self, device: str) -> float | None:
        """Cores it may use now, as its monitor said last; None when it has said nothing."""
        known = self._of(device)
        return known.capacity_cores if known.capacity_cores > 0 else None

    def link(self, device: str) -> LinkMeasure | None:
        """Its way to the broker: averaged, and what our own frames took while it was measured counted in."""
        known = self._of(device)
        if known.link is None or not known.up.known:
            return known.link
        return known.link.model_copy(
            update={
                "rtt_ms": math.exp(known.rtt.value()) if known.link.rtt_ms > 0 else 0.0,
                "up_mbps": math.exp(known.up.value()) if known.link.up_mbps > 0 else 0.0,
                "down_mbps": math.exp(known.down.value()) if known.link.down_mbps > 0 else 0.0,
            }
        )

    def _of(self, device: str) -> Condition:
        return self.devices.get(device, Condition())

    def _with(self, device: str, condition: Condition) -> Conditions:
        return Conditions({**self.devices, device: condition})


def _left(known: Condition, threads: int) -> float:
    """Of the cores that our threads want, the share that others leave them, or that is fair."""
    others = min(1.0, max(0.0, known.others.value()))
    cores = known.capacity_cores
    wanted = min(float(threads), cores) if threads > 0 and cores > 0 else cores
    if cores <= 0 or wanted <= 0:
        return 1.0
    return min(1.0, max(FAIR_SHARE, (1 - others) * cores / wanted))


def _with_telemetry(known: Condition, telemetry: Telemetry, now_s: float) -> Condition:
    cores = max(telemetry.capacity_cores, 1e-3)
    if known.heard_s == -math.inf:
        known = replace(known, first_s=now_s)
    if known.capacity_cores <= 0:
        others = NO_SAMPLES
    elif abs(cores - known.capacity_cores) > CAPACITY_STEP * known.capacity_cores:
        # The first reading after a change covers a time under both quotas.
        known, others = replace(known, stepped_s=now_s), _restarted(known.others)
    elif known.unclear(now_s):
        others = known.others
    else:
        ours = known.own_cores + telemetry.monitor_cpu
        others = known.others.with_sample(telemetry.load - ours / cores, now_s - known.heard_s, LOAD_PACE)
    after = replace(
        known, capacity_cores=cores, heard_s=now_s, others=others, heat=_heat(known.heat, telemetry.throttling)
    )
    link = telemetry.link
    return after if link is None or _same(link, known.link) else _with_link(after, link)


def _restarted(others: Steady) -> Steady:
    """Go on from the last value, soon replaced by what comes."""
    weight = 0.05
    kept = replace(others.slow, total=others.value() * weight, weight=weight)
    return Steady(kept, kept) if others.known else others


def _with_link(known: Condition, link: LinkMeasure) -> Condition:
    """One more measurement; what our own frames took meanwhile was no less there than what was left for the probe."""
    return replace(
        known,
        link=link,
        up=known.up.with_sample(math.log(max(_LEAST_MBPS, link.up_mbps + known.own_up_mbps)), 1.0, LINK_PACE),
        down=known.down.with_sample(math.log(max(_LEAST_MBPS, link.down_mbps + known.own_down_mbps)), 1.0, LINK_PACE),
        rtt=known.rtt.with_sample(math.log(max(_LEAST_MS, link.rtt_ms)), 1.0, LINK_PACE),
    )


def _same(link: LinkMeasure, before: LinkMeasure | None) -> bool:
    """The same measurement told again: only its age has grown."""
    return (
        before is not None and link.age_s >= before.age_s and link.model_copy(update={"age_s": before.age_s}) == before
    )


def _heat(before: float, flags: Throttling | None) -> float:
    """Flags come and go from second to second while a device is at its limit; clocks recover slowly."""
    now = 1.0 if flags is None else min([1.0, *(left for name, left in _HEAT if getattr(flags, name))])
    return now if now < before else before + 0.1 * (now - before)
