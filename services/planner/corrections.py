"""What stages really take, relative to what was predicted: one factor per device and model, learned while they run.

Profiles are measured at rest, on blocks one by one; caches, memory bandwidth, heat and neighbours nobody can see make
stages slower or quicker than that. Each report of a worker is compared with what the cost model expects of that stage
under the condition of that moment, and the averaged ratio corrects the next predictions.

    corrections = corrections.observe("pi4", "net", sha, ratio=1.2, frames=50, now_s=t)
    corrections.factor("pi4", "net", sha, now_s=t)      # 1.2

Averages are of logarithms: twice as slow and twice as quick weigh alike.

What was off from the beginning is taken for the cost model's own error, and expected of devices that nobody has tried
yet, too: otherwise every device that is in use would look worse than those that are not. What changes later is the
device's own affair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.planner.moving_average import NO_SAMPLES, Pace, Steady

FACTOR_MIN: Final = 0.25
FACTOR_MAX: Final = 8.0
PACE: Final = Pace(slow=20.0, quick=3.0, jump=0.25)
"""Seconds; natural logarithms of the ratio."""
FIRST_REPORTS: Final = 10
"""So many reports make out what was off from the beginning."""
FULL_FRAMES: Final = 10
"""A report of fewer frames moves the average less: their median says less."""
UNDONE_REPORTS: Final = 3
"""So many can be undone: a new quota is told of after it has begun to slow stages down."""
BELIEVED_S: Final = 900.0
"""A device that is no longer used is taken to be as it was for so long; then half of it is forgotten each time again,
because nobody would ever find out that it has got better."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Of one model on one device."""

    card_sha: str
    ratio: Steady = NO_SAMPLES
    """Logarithm of measured / predicted."""
    at_first: float = 0.0
    """The mean of the first reports."""
    samples: int = 0
    at_s: float = 0.0
    before: tuple[Learned, ...] = ()
    """What was known before each of the last `UNDONE_REPORTS` reports, oldest first."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Of every device and model; immutable."""

    learned: Mapping[tuple[str, str], Learned] = field(default_factory=dict)
    """By device and model; what was learned of another card of that name is dropped."""

    def observe(
        self, device: str, model: str, card_sha: str, *, ratio: float, frames: int, now_s: float
    ) -> Corrections:
        """After one stage's report of one period; a report of no frames or no time changes nothing.

        Args:
            device: where the stage ran.
            model: whose blocks.
            card_sha: of which version.
            ratio: what a frame took (the median of the period), relative to what was expected without any correction
                (`services.planner.expected`).
            frames: how many.
            now_s: when the report came.
        """
        if frames <= 0 or not 0 < ratio < math.inf:
            return self
        known = self._of(device, model, card_sha)
        measured = math.log(min(FACTOR_MAX, max(FACTOR_MIN, ratio)))
        elapsed_s = min(1.0, frames / FULL_FRAMES) * max(0.0, now_s - known.at_s)
        samples, at_first = known.samples + 1, known.at_first
        if samples <= FIRST_REPORTS:
            at_first += (measured - at_first) / samples
        average = known.ratio.with_sample(measured, elapsed_s, PACE)
        # Several stages of a model report together: what was known before them is the same.
        before = known.before if known.samples and known.at_s == now_s else (*known.before, replace(known, before=()))
        after = Learned(card_sha, average, at_first, samples, now_s, before[-UNDONE_REPORTS:])
        return Corrections({**self.learned, (device, model): after})

    def factor(self, device: str, model: str, card_sha: str, *, now_s: float) -> float:
        """What predicted compute times are to be multiplied by, FACTOR_MIN..FACTOR_MAX; 1.0 when nothing is known."""
        known = self._of(device, model, card_sha)
        if known.samples == 0:
            return self._at_first(model, card_sha)
        unseen_s = max(0.0, now_s - known.at_s - BELIEVED_S)
        remembered = 0.5 ** (unseen_s / BELIEVED_S)
        return min(FACTOR_MAX, max(FACTOR_MIN, math.exp(known.ratio.value() * remembered)))

    def undone(self, device: str, *, since_s: float) -> Corrections:
        """Without a device's last reports, as far as they came after `since_s`: it was not what it was taken for."""
        learned = {key: _undone(one, since_s) if key[0] == device else one for key, one in self.learned.items()}
        return Corrections({key: one for key, one in learned.items() if one.samples})

    def forget(self, device: str, model: str | None = None) -> Corrections:
        """With nothing known of a device, or of one model on it: it has measured again, or is another one now."""
        kept = {key: one for key, one in self.learned.items() if key[0] != device or model not in (None, key[1])}
        return Corrections(kept) if len(kept) < len(self.learned) else self

    def _at_first(self, model: str, card_sha: str) -> float:
        """For a device that was never tried: what was off with others from the beginning."""
        tried = [one for (_, name), one in self.learned.items() if name == model and one.card_sha == card_sha]
        weights = [min(one.samples, FIRST_REPORTS) for one in tried]
        if not tried:
            return 1.0
        return math.exp(sum(weight * one.at_first for weight, one in zip(weights, tried, strict=True)) / sum(weights))

    def _of(self, device: str, model: str, card_sha: str) -> Learned:
        known = self.learned.get((device, model))
        return known if known is not None and known.card_sha == card_sha else Learned(card_sha)


def _undone(known: Learned, since_s: float) -> Learned:
    """The latest state that knew of no report after `since_s`, as far as they are kept."""
    states = (*known.before, known)
    return next((state for state in reversed(states) if state.at_s <= since_s), states[0])
