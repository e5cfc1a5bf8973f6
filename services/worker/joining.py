"""The bands of a request, gathered until all of them are there; then they are one frame again.

Bands come over different devices, in any order, some twice, some never. What waits here is bounded in number, in bytes
and by its deadline. A frame is acknowledged when it is taken in here: were it held back until its set is complete, a
few requests whose other bands are lost would use up the connection's receive maximum, and nothing would ever move
again. So what is dropped is lost to this worker, and the submitter, who holds the input, sends all bands again.

Bands come in the order in which requests were sent, so whoever has waited longest gets complete next: where it is full
it is the newcomer who is dropped.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from models.rows.chain import RowsError
from models.rows.join import join
from schemas.codec import Array
from schemas.frame import Frame, FrameError
from schemas.frame_header import FrameHeader

MOST_SETS: Final = 64
"""Requests of which some bands are here and others not;"""
MOST_BYTES: Final = 64 << 20
"""and their bytes, unless one set alone has more."""
LONGEST_S: Final = 60.0
"""For the other bands to come, whatever the deadline: by then the submitter has sent all of them again."""
_MOST_REMEMBERED: Final = 1024
"""Requests that lost a band here, so that their other bands take no place in vain."""


@dataclass(frozen=True, slots=True)
class Joined:
    """All bands of one attempt, top to bottom; to a stage it is a frame."""

    header: FrameHeader
    """The bands' traces one after the other, and the least of their budgets."""
    bands: tuple[Frame, ...]

    @property
    def data(self) -> tuple[memoryview, ...]:
        """The tensors' bytes, of all bands."""
        return tuple(data for band in self.bands for data in band.data)

    def arrays(self) -> dict[str, Array]:
        """Decode and join all tensors, by name; copies each once.

        Raises:
            schemas.frame.FrameError: a tensor's bytes are not what its header says, or bands do not fit together.
        """
        parts = [band.arrays() for band in self.bands]
        try:
            return {name: join([part[name] for part in parts]) for name in parts[0]}
        except (KeyError, RowsError) as error:
            raise FrameError("bands", f"bands of {self.header.request} do not fit together: {error}") from error


@dataclass(slots=True)
class _Set:
    """What is there of one attempt."""

    attempt: int
    since_s: float
    deadline_s: float
    frames: dict[int, Frame] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(frame.nbytes for frame in self.frames.values())

    @property
    def until_s(self) -> float:
        return min(self.deadline_s, self.since_s + LONGEST_S)


class Joiner:
    """Gathers for one stage. Pure but for what it holds: times come in, no clock is read."""

    def __init__(self, dropped: Counter[str], *, most_sets: int = MOST_SETS, most_bytes: int = MOST_BYTES) -> None:
        """
        Args:
            dropped: counts frames that nothing will come of, by reason.
            most_sets: requests that are incomplete at a time.
            most_bytes: of all of them, unless one alone has more.
        """
        self._dropped = dropped
        self._most_sets = most_sets
        self._most_bytes = most_bytes
        self._sets: dict[tuple[str, str], _Set] = {}
        self._crowded_out: OrderedDict[tuple[str, str], int] = OrderedDict()
        """The attempt that lost a band for want of room, by submitter and request."""

    @property
    def waiting(self) -> int:
        """Requests of which some bands are here."""
        return len(self._sets)

    @property
    def nbytes(self) -> int:
        """Bytes that wait here."""
        return sum(one.nbytes for one in self._sets.values())

    def take(self, frame: Frame, *, now_s: float, budget_ms: float) -> Joined | None:
        """Take one band in; all of them, once this was the last one missing.

        The latest attempt of a request counts: bands of another one are dropped, and so is a band that is here already.
        Where it is full a band of a further request is dropped, unless another submitter has more requests here: then
        that one's latest gives way.

        Args:
            frame: checked: one of `header.bands` bands of this stage.
            now_s: by any clock that only grows.
            budget_ms: what is left until its deadline.
        """
        self.expire(now_s)
        header = frame.header
        key = header.submitter, header.request
        deadline_s = now_s + budget_ms / 1000.0
        known = self._sets.get(key)
        if header.attempt <= self._crowded_out.get(key, -1) or (known is None and not self._has_room(frame)):
            self._crowd_out(key, header.attempt, bands=1)
            return None
        if known is None or header.attempt > known.attempt:
            self._drop(key, "band-superseded")
            known = self._sets[key] = _Set(header.attempt, now_s, deadline_s)
        if header.attempt < known.attempt:
            self._dropped["band-superseded"] += 1
            return None
        if header.band in known.frames:
            self._dropped["band-twice"] += 1
            return None
        known.frames[header.band] = frame
        known.deadline_s = min(known.deadline_s, deadline_s)
        if len(known.frames) == header.bands:
            del self._sets[key]
            return _joined(known, now_s)
        self._make_room(key)
        return None

    def expire(self, now_s: float) -> None:
        """Drop what is past its deadline."""
        for key in [key for key, one in self._sets.items() if one.until_s <= now_s]:
            self._drop(key, "band-expired")

    def _has_room(self, frame: Frame) -> bool:
        """Whether a further request may wait here, after those have given way of whom there are too many."""
        while self._sets and (len(self._sets) >= self._most_sets or self.nbytes + frame.nbytes > self._most_bytes):
            held = Counter(submitter for submitter, _ in self._sets)
            most = max(held, key=lambda submitter: held[submitter])
            if held[most] <= held[frame.header.submitter] + 1:
                return False
            self._give_way(next(key for key in reversed(self._sets) if key[0] == most))
        return True

    def _make_room(self, grown: tuple[str, str]) -> None:
        """For another band of a request that waits here, whoever came last goes first: it gets complete last."""
        for key in list(reversed(self._sets)):
            if self.nbytes <= self._most_bytes:
                return
            if key != grown:
                self._give_way(key)

    def _give_way(self, key: tuple[str, str]) -> None:
        gone = self._sets.pop(key)
        self._crowd_out(key, gone.attempt, bands=len(gone.frames))

    def _crowd_out(self, key: tuple[str, str], attempt: int, *, bands: int) -> None:
        self._dropped["band-crowded-out"] += bands
        self._crowded_out[key] = max(attempt, self._crowded_out.get(key, 0))
        self._crowded_out.move_to_end(key)
        if len(self._crowded_out) > _MOST_REMEMBERED:
            self._crowded_out.popitem(last=False)

    def _drop(self, key: tuple[str, str], reason: str) -> None:
        gone = self._sets.pop(key, None)
        if gone is not None:
            self._dropped[reason] += len(gone.frames)


def _joined(complete: _Set, now_s: float) -> Joined:
    frames = tuple(complete.frames[band] for band in sorted(complete.frames))
    header = frames[0].header.model_copy(
        update={
            "band": 0,
            "bands": 0,
            "trace": tuple(trace for frame in frames for trace in frame.header.trace),
            "budget_ms": max(0.0, (complete.deadline_s - now_s) * 1000.0),
        }
    )
    return Joined(header, frames)
