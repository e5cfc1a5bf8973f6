"""Being known by one name on the bus: two devices must not share it, and a late will must not bury who came back.

Both the monitor (`DEVICE_STATUS`) and the worker (`DEVICE_STAGES`) publish a retained state that says `online`, and
leave a last will that says the opposite. Around that state:

- a newcomer first asks (`take_name`) when the retained state says that somebody else is online;
- the holder's `Presence.guard` answers such claims by publishing its state again;
- the guard also publishes again when a will of an earlier life, or our own after a broken connection, overwrites it.

Which of two has to go, `services.tenure` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Generic, Literal, TypeVar

from broker.bus import Bus
from broker.delivery import Change, Delivery
from broker.errors import BrokerUnreachableError
from broker.rejections import clipped
from schemas.device import Claim, DeviceStatus
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_CLAIM, DEVICE_INFO, DEVICE_STAGES, DEVICE_STATUS, Topic
from services.lifecycle import OperatorError
from services.tenure import Tenure, verdict

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 2.0
GOODBYE_WITHIN_S: Final = 2.0
_SAY_AGAIN_S: Final = 0.1
"""Between two announcements: many may overwrite the state, or ask, at once."""
Role = Literal["monitor", "worker"]


S = TypeVar("S", DeviceStatus, StagesHeld)


class DuplicateNameError(OperatorError):
    """Another living service holds this name; says where, and what to do."""

    def __init__(self, device: str, role: Role, where: str, option: str = "--device") -> None:
        super().__init__(
            f"another {role} named {device!r} is already on this broker{where}: give this device another name "
            f"({option} NAME or STAGELINE_DEVICE=NAME), or stop the other one"
        )


def new_boot_id() -> str:
    """A name for one life of a service; later lives sort after earlier ones as far as the clock can be trusted."""
    return f"{int(time.time()):010x}-{secrets.token_hex(4)}"


async def take_name(bus: Bus, *, device: str, boot_id: str, role: Role, hostname: str) -> None:
    """`claim_name` by the service that will bear it; call it before publishing any state."""
    if await claim_name(bus, device=device, boot_id=boot_id, role=role, hostname=hostname):
        logger.info("the last holder of this name does not answer; taking it over", extra={"device": device})


async def claim_name(
    bus: Bus, *, device: str, boot_id: str, role: Role, hostname: str, option: str = "--device"
) -> bool:
    """Make sure that no living service of this role holds `device`.

    Returns at once when the broker remembers nobody online under that name, else after `ANSWER_WITHIN_S` without
    an answer (the holder died and its will is still on its way): then True.

    Args:
        bus: connected.
        device: the name.
        boot_id: ours, of this life.
        role: which of the device's services we are.
        hostname: ours, for the holder's log.
        option: which option of the caller's command gives another name.

    Raises:
        DuplicateNameError: the holder answered.
    """
    claim = Claim(device=device, boot_id=boot_id, role=role, hostname=hostname)
    if role == "monitor":
        answered = await _holder_answers(bus, DEVICE_STATUS, claim)
    else:
        answered = await _holder_answers(bus, DEVICE_STAGES, claim)
    if answered:
        raise DuplicateNameError(device, role, await _where(bus, device), option)
    return answered is not None


async def _holder_answers(bus: Bus, topic: Topic[S], claim: Claim) -> bool | None:
    """None when the broker remembers no holder."""
    remembered = await bus.snapshot(topic, device=claim.device)
    if not any(_rival(delivery.message, claim.boot_id) for delivery in remembered):
        return None
    async with bus.subscribe(topic, device=claim.device) as states:
        await bus.publish(DEVICE_CLAIM, claim, device=claim.device)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await _answered(states, claim.boot_id)
        except TimeoutError:
            return False


def _rival(state: DeviceStatus | StagesHeld, boot_id: str) -> bool:
    return state.online and state.boot_id != boot_id


async def _answered(states: AsyncIterator[Delivery[S]], boot_id: str) -> bool:
    async for delivery in states:
        if not delivery.retained and _rival(delivery.message, boot_id):
            return True
    return False


async def _where(bus: Bus, device: str) -> str:
    known = await bus.snapshot(DEVICE_INFO, device=device)
    return f" (on host {known[0].message.hostname!r})" if known else ""


class Presence(Generic[S]):
    """Keeps one service's retained state true. `current` gives the state as it is now."""

    def __init__(
        self, bus: Bus, topic: Topic[S], *, device: str, boot_id: str, role: Role, current: Callable[[], S]
    ) -> None:
        self._bus = bus
        self._topic: Topic[S] = topic
        self._device = device
        self._boot_id = boot_id
        self._role = role
        self._current: Callable[[], S] = current
        self._due = asyncio.Event()
        self.known = asyncio.Event()
        """Set when the state has been said and claims are listened to."""

    async def announce(self) -> None:
        """Publish the state as it is now. Without a connection it is said as soon as there is one again."""
        with contextlib.suppress(BrokerUnreachableError):  # the bus remembers it for the reconnect
            await self._bus.publish(self._topic, self._current(), device=self._device)

    async def when_known(self, tell: Callable[[], None]) -> None:
        """Call that when the state has been said and claims are listened to."""
        await self.known.wait()
        tell()

    async def guard(self) -> None:
        """Announce, then answer claims and undo overwrites until cancelled. One loop of the service's task group.

        It listens before it announces, so that a newcomer's claim is answered by one or the other.

        Raises:
            DuplicateNameError: two services took the name in the same moment and this one has to go.
        """
        async with (
            self._bus.subscribe(DEVICE_CLAIM, device=self._device) as claims,
            self._bus.watch(self._topic, device=self._device) as states,
        ):
            tenure = Tenure()
            self._bus.on_reconnect(tenure.is_back)
            await self.announce()
            self.known.set()
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._answer(claims), name="claims")
                loops.create_task(self._defend(states, tenure), name="states")
                loops.create_task(self._announce_when_due(), name="announcements")

    @contextlib.asynccontextmanager
    async def farewell(self, gone: Callable[[str], S]) -> AsyncIterator[None]:
        """Publish `gone(reason)` when the block ends. We leave the broker in good order, so no will does it for us.

        Nothing is said after a `DuplicateNameError`: the state under this name is the other service's.
        """
        try:
            yield
        except BaseException as error:
            if not _contains_duplicate(error):
                await self._say_goodbye(gone("stopped" if isinstance(error, asyncio.CancelledError) else "crashed"))
            raise
        await self._say_goodbye(gone("stopped"))

    async def _say_goodbye(self, state: S) -> None:
        with contextlib.suppress(BrokerUnreachableError):  # then the will has told already
            await self._bus.publish(self._topic, state, timeout_s=GOODBYE_WITHIN_S, device=self._device)

    async def _answer(self, claims: AsyncIterator[Delivery[Claim]]) -> None:
        async for delivery in claims:
            claim = delivery.message
            if claim.role == self._role and claim.boot_id != self._boot_id:
                # A newcomer, which is refused and says so itself, or the planner that calls the roll.
                logger.info("asked who holds this name", extra={"hostname": clipped(claim.hostname)})
                self._due.set()

    async def _defend(self, states: AsyncIterator[Change[S]], tenure: Tenure) -> None:
        async for change in states:
            state = change.message
            match verdict(state, retained=change.retained, boot_id=self._boot_id, standing=tenure.standing):
                case "announce":
                    by = state.boot_id if state else "nobody"
                    logger.info("state was overwritten; publishing it again", extra={"by": by})
                    self._due.set()
                case "yield" if state is not None and tenure.doubts(state.boot_id):
                    await self._challenge()
                case "yield":
                    raise DuplicateNameError(self._device, self._role, await _where(self._bus, self._device))
                case "ours":
                    pass

    async def _challenge(self) -> None:
        """Ask whoever else says that it is here: if it is, it answers."""
        claim = Claim(device=self._device, boot_id=self._boot_id, role=self._role, hostname=socket.gethostname())
        with contextlib.suppress(BrokerUnreachableError):
            await self._bus.publish(DEVICE_CLAIM, claim, device=self._device)

    async def _announce_when_due(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.announce()
            await asyncio.sleep(_SAY_AGAIN_S)


def _contains_duplicate(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(DuplicateNameError) is not None
    return isinstance(error, DuplicateNameError)
