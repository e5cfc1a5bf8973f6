"""Which life of a device speaks: one that is over must not bury its successor, nor a lie the one that is there.

A device's worker and its monitor each have a boot id per life. Whoever appears under a name begins a new life of it,
and the one before is thought to be over: its will and its last reports may still be on their way. On a broker without
users anybody can make a life up, though, and a life that was only made up falls silent, while the real one goes on
speaking. So a life that was thought over is believed again when it speaks and the present one does not: a worker when
it answers a question that the present one has left unanswered, a monitor by its telemetry, which comes all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.device import DeviceInfo, DeviceStatus, Telemetry
from schemas.stages import StagesHeld

BELIEVED: Final = 3
"""Words of telemetry on end, none of the present life's between: a process that ended leaves no more than one."""
_LIVES_KEPT: Final = 16

State = DeviceStatus | StagesHeld


@dataclass(frozen=True, slots=True)
class Overruled:
    """What one life that was thought over says, while the present one is silent."""

    boot: str
    words: int = 0
    info: DeviceInfo | None = None
    telemetry: Telemetry | None = None

    @property
    def believed(self) -> bool:
        """Whether this is the life that is there."""
        return self.words >= BELIEVED

    def with_word(self, word: DeviceInfo | Telemetry) -> Overruled:
        """One more of its words; those of another life begin anew."""
        before = self if word.boot_id == self.boot else Overruled(word.boot_id)
        if isinstance(word, DeviceInfo):
            return Overruled(before.boot, before.words, word, before.telemetry)
        return Overruled(before.boot, before.words + 1, before.info, word)


def of_the_past(
    now: State | None, message: State | None, past: tuple[str, ...], *, retained: bool, awaited: bool = False
) -> bool:
    """Whether a birth, report or will is from a life before the one that is known to be lived now.

    A live message of another life that says "offline" is a will that the broker sent late. One that the broker had
    kept may be of a life that began and ended while nobody listened: it counts, unless that life is known to be over.

    Args:
        now: the last that was believed.
        message: what came; None: the topic was cleared.
        past: lives that are thought to be over.
        retained: the broker had kept it.
        awaited: the life that is known was silent and has left a question unanswered so far: who speaks, is there.
    """
    if now is None or message is None or not now.online or message.boot_id == now.boot_id:
        return False
    if awaited and message.online and not retained:
        return False
    return message.boot_id in past or not (message.online or retained)


def past(before: tuple[str, ...], now: State | None, message: State | None) -> tuple[str, ...]:
    """The lives that are thought to be over once `message` is believed, the latest last."""
    if now is None or message is None or now.boot_id == message.boot_id:
        return before
    return (*(boot for boot in before if boot != message.boot_id), now.boot_id)[-_LIVES_KEPT:]
