"""A submitter in a process of its own: it asks at a pace of its own, whether it is answered or not.

    python -m bench.chaos.submitter mqtt://127.0.0.1:1883 line --name greedy --rate-rps 200 --seconds 30

It writes `{"submitting": true}` once it has its first answer, and what became of its requests at its end; both are one
line of JSON. When it is killed it says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from bench.line import made_up_inputs
from broker.children import tied_to_us
from stageline.client import Client
from stageline.receipts import RequestFailedError

DEADLINE_S: Final = 3.0
_READY_S: Final = 30.0
STARTED_WITHIN_S: Final = 2 * _READY_S
"""On a busy machine, its first answer included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many requests a second for how long, and how long each may take, s."""

    rate_rps: float
    seconds: float
    deadline_s: float = DEADLINE_S


def start(broker: str, deployment: str, name: str, pace: Pace) -> subprocess.Popen[str]:
    """Start one; it ends when we do."""
    command = [sys.executable, "-m", __name__, broker, deployment, "--name", name]
    amounts = {"--rate-rps": pace.rate_rps, "--seconds": pace.seconds, "--deadline-s": pace.deadline_s}
    options = [text for option, amount in amounts.items() for text in (option, str(amount))]
    return subprocess.Popen(
        [*tied_to_us(), *command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


async def said(process: subprocess.Popen[str], within_s: float) -> dict[str, Any]:
    """The next line that it writes.

    Raises:
        TimeoutError: nothing in time.
        RuntimeError: it ended without.
    """
    if process.stdout is None:
        raise RuntimeError("a submitter's pipe was asked for and not given")
    async with asyncio.timeout(within_s):
        line = await asyncio.to_thread(process.stdout.readline)
    if not line:
        raise RuntimeError(f"the submitter ended without a word, status {process.wait()}")
    words: dict[str, Any] = json.loads(line)
    return words


async def submit(broker: str, deployment: str, name: str, pace: Pace) -> dict[str, Any]:
    """Ask at that pace, in step with the clock and not with the answers; returns what became of it all."""
    failed: Counter[str] = Counter()
    answered: list[float] = []

    async with Client(broker, deployment=deployment, name=name, deadline_s=pace.deadline_s) as client:
        inputs = itertools.cycle(made_up_inputs(await client.ready(_READY_S)))
        await client.submit(next(inputs), deadline_s=_READY_S)
        print(json.dumps({"submitting": True}), flush=True)  # noqa: T201  whoever started us reads it

        async def one() -> None:
            try:
                answer = await client.submit(next(inputs))
            except RequestFailedError as error:
                failed[error.reason] += 1
            else:
                answered.append(answer.receipt.latency_ms)

        begun = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number in range(round(pace.rate_rps * pace.seconds)):
                await asyncio.sleep(begun + number / pace.rate_rps - time.monotonic())
                requests.create_task(one())
        return {"name": name, "reasons": dict(failed), "latencies_ms": answered, **client.audit.as_dict()}


def main() -> None:
    """As a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("broker")
    parser.add_argument("deployment")
    parser.add_argument("--name", default="submitter")
    parser.add_argument("--rate-rps", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--deadline-s", type=float, default=DEADLINE_S)
    given = parser.parse_args()
    pace = Pace(rate_rps=given.rate_rps, seconds=given.seconds, deadline_s=given.deadline_s)
    print(json.dumps(asyncio.run(submit(given.broker, given.deployment, given.name, pace))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
