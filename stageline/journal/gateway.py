"""Delivers what is in a journal: submits it, and shows each outcome once, however often the gateway is killed.

    journal: open -> (client: answered or failed) -> arriving -> place: shown -> journal: shown

A kill before `arriving` means that the request is submitted again, which is safe since stages are pure functions and
nobody has seen its answer. A kill after it means that the very same outcome is shown, unless it has been (`Place`).
An outcome that alone cannot be shown is set aside, and tried again in the gateway's next life.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

from models.pictures import UnreadablePictureError
from stageline.client import Client
from stageline.inputs import WrongInputError
from stageline.journal.outcome import of_answer, of_failure
from stageline.journal.places import Place
from stageline.journal.records import OpenRequest, Outcome
from stageline.journal.retrying import Pace, pause_s
from stageline.journal.store import Journal
from stageline.journal.trouble import JournalError, told
from stageline.many import bounded
from stageline.receipts import RequestFailedError

_LOOK_S: Final = 0.1
"""Requests are handed over by other processes: how often to look whether there are more."""
_DEADLINES_S: Final = 0.5
"""How often to look for those that have passed."""
_TOGETHER: Final = 64
"""Outcomes that share the journal's writes to disk."""
_LOG = logging.getLogger(__name__)


class GatewayBusyError(JournalError):
    """Another gateway delivers this journal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another gateway delivers {folder} already: end that one first, or use another journal")


@contextmanager
def sole_gateway(folder: Path) -> Iterator[None]:
    """Only one at a time may be inside; the kernel lets go when a process dies, however it does.

    Raises:
        GatewayBusyError: somebody is.
        JournalError: the folder cannot be used.
    """
    with told(folder):
        descriptor = os.open(folder / "gateway.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GatewayBusyError(folder) from None
        yield
    finally:
        os.close(descriptor)


class Gateway:
    """One life of a journal's gateway; `run` it, by itself (`sole_gateway`).

    Args:
        journal: what to deliver.
        place: where outcomes are shown.
        place_of: the place of that name, where an earlier life may have begun to show some.
        client_of: a client of a deployment, not entered yet.
        pace: how patient.
        only: these deployments; empty: all that the journal names.
        until_empty: end when nothing is open, instead of waiting for more.
        seen: called with each outcome that is shown.
    """

    def __init__(
        self,
        journal: Journal,
        place: Place,
        *,
        place_of: Callable[[str], Awaitable[Place]],
        client_of: Callable[[str], Client],
        pace: Pace | None = None,
        only: Iterable[str] = (),
        until_empty: bool = False,
        seen: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._place = place
        self._place_of = place_of
        self._client_of = client_of
        self._pace = pace or Pace()
        self._only = frozenset(only)
        self._until_empty = until_empty
        self._seen = seen
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue(_TOGETHER)
        self._taken: set[str] = set()
        """Requests that somebody here works on; open in the journal until they have their outcome."""
        self._taking = asyncio.Lock()
        """Held while the journal is read and `_taken` changed: else what was read open could be done by then."""

    async def run(self) -> None:
        """Deliver until cancelled, or until nothing is open.

        Raises:
            JournalError, broker.errors.BusError: something that must be mended; what is open stays so.
        """
        await self._settle()
        async with asyncio.TaskGroup() as group:
            always = [
                group.create_task(self._show_all(), name="outcomes"),
                group.create_task(self._give_up_overdue(), name="deadlines"),
            ]
            lanes: dict[str, asyncio.Task[None]] = {}
            while True:
                for deployment in await self._waiting() - lanes.keys():
                    lanes[deployment] = group.create_task(self._lane(deployment), name=deployment)
                if not self._until_empty:
                    await asyncio.sleep(_LOOK_S)
                elif lanes:
                    await asyncio.wait(lanes.values())
                    # What has an outcome is open in the journal until that is written down.
                    await self._outcomes.join()
                    lanes.clear()
                else:
                    await self._outcomes.join()
                    break
            for task in always:
                task.cancel()

    async def _waiting(self) -> set[str]:
        waiting = await asyncio.to_thread(self._journal.waiting)
        return waiting & self._only if self._only else waiting

    async def _settle(self) -> None:
        """Finish what an earlier life had begun to show, and try again what it could not."""
        arriving = await asyncio.to_thread(self._journal.arriving)
        by_place: Mapping[str, list[Outcome]] = {
            name: [outcome for _, outcome in some] for name, some in groupby(sorted(arriving, key=_where), key=_where)
        }
        for name in {self._place.name, *by_place}:
            outcomes = by_place.get(name, [])
            place = self._place if name == self._place.name else await self._place_of(name)
            await place.settle(outcomes)
            await self._are_shown(outcomes)
        after = 0
        while (aside := await asyncio.to_thread(self._journal.next_aside, after)) is not None:
            after, outcome = aside
            await self._show([outcome])

    async def _lane(self, deployment: str) -> None:
        """Deliver one deployment's requests, as many at a time as its line takes."""
        async with self._client_of(deployment) as client:

            async def deliver(_index: int, one: OpenRequest) -> None:
                await self._outcomes.put(await self._outcome(client, one))

            def places() -> int:
                return max(2, 2 * client.window)

            async with aclosing(bounded(self._open(deployment), deliver, places, in_order=False)) as delivered:
                async for _ in delivered:
                    pass

    async def _open(self, deployment: str) -> AsyncIterator[OpenRequest]:
        after = 0
        while True:
            async with self._taking:
                one = await asyncio.to_thread(self._journal.next_open, deployment, after)
                mine = self._take([one] if one else [])
            if one is not None:
                after = one.number
                for taken in mine:
                    yield taken
            elif self._until_empty:
                return
            else:
                await asyncio.sleep(_LOOK_S)

    def _take(self, requests: list[OpenRequest]) -> list[OpenRequest]:
        """Those that nobody works on yet; they are the caller's."""
        mine = [one for one in requests if one.request not in self._taken]
        self._taken.update(one.request for one in mine)
        return mine

    async def _give_up_overdue(self) -> None:
        """Deadlines of requests that wait behind others, which may wait for ever."""
        while True:
            found = 0
            for deployment in await self._waiting():
                async with self._taking:
                    # More than can be under way from here to the journal.
                    late = await asyncio.to_thread(self._journal.overdue, deployment, time.time(), 4 * _TOGETHER)
                    mine = self._take(late)
                found += len(mine)
                for one in mine:
                    said = f"no answer before its deadline: it still waited behind others for {deployment}"
                    await self._outcomes.put(of_failure(one, "deadline", said, time.time()))
            if not found:
                await asyncio.sleep(_DEADLINES_S)

    async def _outcome(self, client: Client, one: OpenRequest) -> Outcome:
        """Deliver it until it is answered, or has failed for good."""
        tries, failures = one.tries, 0
        said = "it was handed over too long ago"
        while (left_s := one.deadline - time.time()) > 0:
            reason, sent = "bad-input", 0
            try:
                answer = await client.submit(one.content, deadline_s=min(self._pace.each_s, left_s))
                return await asyncio.to_thread(of_answer, one, answer, time.time())
            except RequestFailedError as error:
                reason, sent, said = error.reason, error.sent, str(error)
            except (WrongInputError, UnreadablePictureError) as error:
                said = str(error)
            pause = pause_s(self._pace, reason, sent=sent, tries=tries, failures=failures)
            if pause is None:
                return of_failure(one, reason, said, time.time())
            failures += 1
            if sent:
                tries += 1
                await asyncio.to_thread(self._journal.failed_once, one.request)
            await asyncio.sleep(max(0.0, min(pause, one.deadline - time.time())))
        return of_failure(one, "deadline", f"no answer before its deadline: {said}", time.time())

    async def _show_all(self) -> None:
        while True:
            batch = [await self._outcomes.get()]
            while len(batch) < _TOGETHER and not self._outcomes.empty():
                batch.append(self._outcomes.get_nowait())
            await self._show(batch)
            async with self._taking:
                self._taken.difference_update(one.request for one in batch)
            for _ in batch:
                self._outcomes.task_done()

    async def _show(self, batch: list[Outcome]) -> None:
        in_the_way = await self._place.prepare(batch)
        if in_the_way:
            aside = [(one, in_the_way[one.request]) for one in batch if one.request in in_the_way]
            await asyncio.to_thread(self._journal.set_aside, aside)
            for one, why in aside:
                _LOG.warning("the outcome of %s is set aside: %s", one.request, why)
        clear = [one for one in batch if one.request not in in_the_way]
        fresh = await asyncio.to_thread(self._journal.resolve, clear, self._place.name)
        await self._place.show(fresh)
        await self._are_shown(fresh)

    async def _are_shown(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            await asyncio.to_thread(self._journal.shown, [one.request for one in outcomes])
        for one in outcomes:
            self._seen(one)


def _where(arriving: tuple[str, Outcome]) -> str:
    return arriving[0]
