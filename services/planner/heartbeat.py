"""Is a worker still there? A pure account of who was heard, who must be asked, and who hangs.

A worker speaks every second (its timing), and whenever its stages change. One that is silent for `SILENT_S` is asked,
by the same claim that newcomers ask with; its event loop answers that, whatever its other threads do. One that has
still said nothing `ANSWER_S` after the broker took the question hangs: what it holds is planned around. A broker that
does not take the question says nothing of the worker, and nor does a planner that was not listening itself: time
counts here in steps of `STEP_MOST_S` at most, however long we stood still.

A false alarm costs a plan that is made and prepared beside the one being served. Whoever gave one is believed again
after a second of speaking, after twice as long each further time within `REMEMBERED_S`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

SILENT_S: Final = 1.3
ANSWER_S: Final = 0.7
PATIENCE: Final = 3.0
"""Times the silence for one that builds a stage or measures: that holds an interpreter up. An answer is an answer."""
STEP_MOST_S: Final = 0.25
STUCK_S: Final = 2.0
STUCK_TIMES: Final = 10.0
TRUST_S: Final = 1.0
TRUST_MOST_S: Final = 60.0
REMEMBERED_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One worker, in one life; times are the account's own, s."""

    boot: str
    heard_s: float
    asking: bool = False
    """Our question is on its way to the broker,"""
    asked_s: float | None = None
    """which took it then."""
    hung: str = ""
    """Why it counts as lost."""
    back_s: float | None = None
    """Since when it speaks again, having hung."""
    wrong: str = ""
    """What in its own words makes it unfit to be counted on, though it speaks."""


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """The account of all workers that are said to be online."""

    now_s: float = 0.0
    pulses: Mapping[str, Pulse] = field(default_factory=dict)
    lapses_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """When each began to hang, lately."""

    @property
    def hung(self) -> dict[str, str]:
        """Workers that cannot be counted on, and why."""
        return {name: pulse.hung for name, pulse in self.pulses.items() if pulse.hung}

    def passed(self, elapsed_s: float, watched: Mapping[str, str], *, busy: Iterable[str] = ()) -> Heartbeats:
        """Time has passed.

        Args:
            elapsed_s: since the last call; 0 while the broker is away.
            watched: the boot id of every worker that is said to be online. A new one counts as just heard.
            busy: those that build or measure.
        """
        now_s = self.now_s + min(elapsed_s, STEP_MOST_S)
        fresh = {
            name: pulse
            if (pulse := self.pulses.get(name)) is not None and pulse.boot == boot
            else Pulse(boot, heard_s=now_s)
            for name, boot in watched.items()
        }
        patient = frozenset(busy)
        pulses = {
            name: self._judged(name, pulse, now_s, PATIENCE if name in patient else 1.0)
            for name, pulse in fresh.items()
        }
        began = [name for name, pulse in pulses.items() if pulse.hung and not fresh[name].hung]
        return replace(self, now_s=now_s, pulses=pulses, lapses_s=self._with_lapses(began, now_s))

    def heard(self, name: str, boot: str, *, wrong: str | None = None) -> Heartbeats:
        """A worker has spoken.

        Args:
            name: which.
            boot: its life; another than is watched says nothing.
            wrong: what in its words makes it unfit to be counted on, "" when all is well; None: they do not say.
        """
        pulse = self.pulses.get(name)
        if pulse is None or pulse.boot != boot:
            return self
        wrong = pulse.wrong if wrong is None else wrong
        back_s = pulse.back_s if pulse.back_s is not None else self.now_s
        heard = replace(
            pulse,
            heard_s=self.now_s,
            asking=False,
            asked_s=None,
            hung=wrong or pulse.hung,
            back_s=back_s if pulse.hung and not wrong else None,
            wrong=wrong,
        )
        began = [name] if heard.hung and not pulse.hung else []
        return replace(self, pulses={**self.pulses, name: heard}, lapses_s=self._with_lapses(began, self.now_s))

    def asking(self, name: str) -> Heartbeats:
        """Our question is on its way."""
        return self._with(name, asking=True)

    def asked(self, name: str) -> Heartbeats:
        """The broker took our question; one that has spoken meanwhile owes no answer."""
        pulse = self.pulses.get(name)
        return self._with(name, asking=False, asked_s=self.now_s) if pulse and pulse.asking else self

    def not_asked(self, name: str) -> Heartbeats:
        """The broker did not take our question."""
        return self._with(name, asking=False)

    def awaits(self, name: str) -> bool:
        """Whether that worker was asked for a word, or is being asked, and owes it still."""
        pulse = self.pulses.get(name)
        return pulse is not None and (pulse.asking or pulse.asked_s is not None)

    def to_ask(self, *, busy: Iterable[str] = ()) -> tuple[str, ...]:
        """Workers whose silence is long enough to ask them, and that have not been asked since."""
        patient = frozenset(busy)
        return tuple(
            name
            for name, pulse in self.pulses.items()
            if not pulse.hung
            and not pulse.asking
            and pulse.asked_s is None
            and self.now_s - pulse.heard_s >= SILENT_S * (PATIENCE if name in patient else 1.0)
        )

    def _with(self, name: str, **changes: Any) -> Heartbeats:
        pulse = self.pulses.get(name)
        return self if pulse is None else replace(self, pulses={**self.pulses, name: replace(pulse, **changes)})

    def _judged(self, name: str, pulse: Pulse, now_s: float, patience: float) -> Pulse:
        silent_s = now_s - pulse.heard_s
        if not pulse.hung:
            if pulse.asked_s is not None and now_s - pulse.asked_s >= ANSWER_S:
                return replace(pulse, hung=f"its worker hangs: no word for {silent_s:.1f} s, not even when asked")
            return pulse
        if pulse.back_s is None:
            return pulse
        if silent_s >= SILENT_S * patience:
            return replace(pulse, back_s=None)
        trusted = now_s - pulse.back_s >= min(TRUST_S * 2 ** (len(self.lapses_s.get(name, ())) - 1), TRUST_MOST_S)
        return replace(pulse, hung="", back_s=None) if trusted else pulse

    def _with_lapses(self, began: Iterable[str], now_s: float) -> dict[str, tuple[float, ...]]:
        lapses = {name: (*self.lapses_s.get(name, ()), now_s) for name in began}
        recent = {
            name: tuple(at_s for at_s in times if now_s - at_s < REMEMBERED_S)
            for name, times in {**self.lapses_s, **lapses}.items()
        }
        return {name: times for name, times in recent.items() if times}


def stuck(stuck_s: float, longest_step_ms: float) -> str:
    """What is wrong with a worker whose compute thread has been at one step for `stuck_s`; "" while that may be.

    Args:
        stuck_s: as it says itself (`Timing.stuck_s`).
        longest_step_ms: the longest step that any plan has for it.
    """
    if stuck_s <= max(STUCK_S, STUCK_TIMES * longest_step_ms / 1e3):
        return ""
    return f"its worker is stuck: {stuck_s:.1f} s at one step of its work"
