"""A hostile client: it listens to everything that passes, and says all of it again later.

What it has is what an eavesdropper has: bytes, where they went, and no more. It forges nothing but addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from broker.bus import Bus
from broker.delivery import RawDelivery
from schemas.parts import part_at, plan_parts
from schemas.plan import Plan
from schemas.topics import STAGE

WORK: Final = "stage/#"
ANSWERS: Final = "answer/#"


@dataclass
class Tape:
    """What was heard: addresses below the root and payloads, in order; of each kind the first `most`."""

    most: int
    work: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[tuple[str, bytes]] = field(default_factory=list)

    async def listen(self, heard: AsyncIterator[RawDelivery], kept: list[tuple[str, bytes]]) -> None:
        """Keep what comes, until cancelled."""
        async for one in heard:
            if len(kept) < self.most:
                kept.append((one.address, bytes(one.payload)))


@asynccontextmanager
async def recording(bus: Bus, most: int = 2000) -> AsyncIterator[Tape]:
    """A tape that fills while inside."""
    tape = Tape(most)
    async with bus.subscribe_bytes(WORK) as work, bus.subscribe_bytes(ANSWERS) as answers:
        listening = [
            asyncio.create_task(tape.listen(work, tape.work)),
            asyncio.create_task(tape.listen(answers, tape.answers)),
        ]
        try:
            yield tape
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)


async def replay(
    bus: Bus, messages: Iterable[tuple[str, bytes]], to: Callable[[str], str] = lambda address: address
) -> int:
    """Publish all of it again, at the address that `to` makes of the one it was heard at; returns how much it was."""
    count = 0
    for address, payload in tuple(messages):
        await bus.publish_bytes(to(address), payload)
        count += 1
    return count


def towards(address: str, plan: Plan) -> str:
    """The address of the same stage in another plan: `stage/line/3/ant/r0s0` becomes `stage/line/4/bee/r0s0`.

    Where that plan has no such stage, the address of its first.
    """
    _, deployment, _, _, stage = address.split("/")
    part = part_at(plan, stage) or plan_parts(plan)[0]
    return STAGE.address(deployment=deployment, generation=plan.generation, device=part.device, stage=part.stage)
