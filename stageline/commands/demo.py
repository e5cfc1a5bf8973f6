"""`stageline demo`: three unequal devices on this machine, and a real picture."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from broker.embedded import BrokerStartError, MosquittoMissingError
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct
from stageline.packaged_pictures import NoPicturesError


def demo(
    requests: Annotated[
        int, typer.Option(min=5, max=100_000, help="How many requests each phase measures with.")
    ] = 200,
    json: options.Json = None,
) -> None:
    """Start a private broker, a planner and three devices of unequal speed, and classify real pictures with them.

    The same model is planned three times: for latency, for throughput, and with memory limits so tight that it must be
    split over all three. Every answer is compared with the unsplit model. Takes about a minute and leaves nothing
    running.

    Exit codes: 0 every request was answered and every answer was right; 1 not; 2 to mend: mosquitto or PyTorch is
    missing.
    """

    def work(report: Report) -> int:
        from stageline.demo.phases import Amount  # noqa: PLC0415  takes a while; --help should not
        from stageline.demo.show import show  # noqa: PLC0415

        # Asked to end by a signal, it still ends what it has started.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        one_by_one = max(1, requests // 5)
        outcome = show(report.out, report.err, Amount(one_by_one, requests - one_by_one))
        report.write_json(outcome.as_dict())
        return DONE if outcome.good else SOME_FAILED

    conduct(json, work, known=(MosquittoMissingError, BrokerStartError, NoPicturesError))
