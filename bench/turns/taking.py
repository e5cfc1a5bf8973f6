"""Systems measured in turns, round by round; what each fails of is its own row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.line import BED_FAILURES, LINE_FAILURES, joined
from bench.peers import PeerFailedError
from bench.reasons import reason
from bench.testbed import Testbed
from bench.turns.line import LineTurn
from bench.turns.peer import PeerTurn
from bench.turns.seen import Amount
from broker.bus import Bus

FINDINGS: Final = (*LINE_FAILURES, PeerFailedError)
"""What a system can fail of by itself: a row that says so, and no end of the measurement."""
Turn = PeerTurn | LineTurn


async def take_turns(
    bed: Testbed,
    turns: Sequence[Turn],
    amount: Amount,
    *,
    keep: Callable[[dict[str, Any]], None],
    said: Callable[[str, float], None],
) -> None:
    """Measure all systems in rounds; what each was seen to do, or failed of, is in its `seen` afterwards.

    Args:
        bed: the fleet.
        turns: the systems; one that failed gets no further turn.
        amount: rounds, and how much per turn.
        keep: told every turn of a deployment, as it came, and every failure (peers keep their turns themselves).
        said: told the name of each system as its turn begins, and the share that is done.
    """
    async with Bus(bed.url, name="bench") as bus:
        try:
            await joined(bus, bed)
        except TimeoutError as error:
            for turn in turns:
                turn.seen.failed = turn.seen.failed or f"not all devices joined: {reason(error)}"
            return
        for number in range(amount.rounds):
            for place, turn in enumerate(turns if number % 2 == 0 else reversed(turns)):
                said(turn.seen.name, (number + place / len(turns)) / amount.rounds)
                if turn.seen.failed:
                    continue
                try:
                    if isinstance(turn, PeerTurn):
                        # In a thread: the bus has pings to answer meanwhile.
                        await asyncio.to_thread(turn.measure, bed.fleet, amount)
                    else:
                        keep({"system": turn.seen.name, "round": number, **await turn.measure(bus, bed, amount)})
                except FINDINGS as error:
                    turn.seen.failed = reason(error)
                    keep({"system": turn.seen.name, "round": number, "failed": turn.seen.failed})
                except BED_FAILURES as error:
                    turn.seen.failed = reason(error)
                    keep({"system": turn.seen.name, "round": number, "failed": turn.seen.failed})
                    for other in turns:
                        other.seen.failed = (
                            other.seen.failed or f"a device was lost while {turn.seen.name} was measured"
                        )
                    return
