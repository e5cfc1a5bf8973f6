"""Requests that are to be sent, the oldest first; set aside are those that pause and those that would come too late."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from stageline.open_request import OpenRequest


class WaitingLine:
    """Whose turn it is. Pure.

    A request that is no longer in `open_requests` has its result: it may stay in line and has no turn any more.
    """

    def __init__(self, open_requests: Mapping[str, OpenRequest]) -> None:
        self._open = open_requests
        self._waiting: list[tuple[int, str]] = []
        self._too_late: list[tuple[float, int, str]] = []
        """Passed over: their answers would come too late. By negated deadline: whoever has the most time left first."""
        self._paused: list[tuple[float, int, str]] = []

    def __bool__(self) -> bool:
        """Whether a route that can take a request again would change anything."""
        return bool(self._waiting or self._too_late)

    @property
    def next_resume(self) -> float | None:
        """When the next of those that pause has its turn again."""
        return self._paused[0][0] if self._paused else None

    def join(self, one: OpenRequest) -> None:
        """It is to be sent, in its old turn if it was before."""
        heapq.heappush(self._waiting, (one.order, one.name))

    def pause(self, one: OpenRequest, until: float) -> None:
        """It is to be sent, and not before then."""
        heapq.heappush(self._paused, (until, one.order, one.name))

    def resume(self, now: float) -> None:
        """Whoever has paused long enough has its turn again."""
        while self._paused and self._paused[0][0] <= now:
            _, order, name = heapq.heappop(self._paused)
            heapq.heappush(self._waiting, (order, name))

    def first(self, now: float, soonest_s: float) -> OpenRequest | None:
        """Whose turn it is when an answer may be expected after `soonest_s`; it stays first until `leave`.

        What would come too late lets others go first, for as long as it would.
        """
        self._recall(now, soonest_s)
        while self._waiting:
            one = self._open.get(self._waiting[0][1])
            if one is not None and (one.attempts or one.deadline - now >= soonest_s):
                return one
            if one is not None:
                self._pass_over(one, now, soonest_s)
            heapq.heappop(self._waiting)
        return None

    def leave(self) -> None:
        """The first goes."""
        heapq.heappop(self._waiting)

    def _pass_over(self, one: OpenRequest, now: float, soonest_s: float) -> None:
        one.passed_over = f"answers took {soonest_s:.1f} s when it had {one.deadline - now:.1f} s left"
        heapq.heappush(self._too_late, (-one.deadline, one.order, one.name))
        if len(self._too_late) > 2 * len(self._open):  # most of them have failed meanwhile
            self._too_late = [entry for entry in self._too_late if entry[2] in self._open]
            heapq.heapify(self._too_late)

    def _recall(self, now: float, soonest_s: float) -> None:
        """Whoever was passed over and could be answered in time as things are now has its old turn again."""
        while self._too_late:
            deadline, order, name = -self._too_late[0][0], *self._too_late[0][1:]
            one = self._open.get(name)
            if one is not None and deadline - now < soonest_s:
                break
            heapq.heappop(self._too_late)
            if one is not None:
                one.passed_over = ""
                heapq.heappush(self._waiting, (order, name))
