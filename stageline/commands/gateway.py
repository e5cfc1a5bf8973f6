"""`stageline gateway`: deliver what was handed over to a journal, each answer once."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from broker.address import BrokerAddress
from broker.once import OncePublisher
from services.supervision import ExecutorPulse, supervised
from stageline.client import Client
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct_service, settings_of
from stageline.journal import answer_files, answer_topic
from stageline.journal.answer_files import AnswerFiles
from stageline.journal.answer_topic import AnswerTopic
from stageline.journal.gateway import Gateway, sole_gateway
from stageline.journal.places import Place
from stageline.journal.records import Outcome
from stageline.journal.retrying import Pace
from stageline.journal.store import Journal
from stageline.settings import CommandSettings

_DAY_S: Final = 86_400.0
_FAILURES_TOLD: Final = 20
"""As they happen; the journal keeps all."""


def gateway(
    journal: options.Journal,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="DIR", help="Where each answer becomes a file; else JOURNAL/answers."),
    ] = None,
    answers_topic: Annotated[
        str | None,
        typer.Option("--answers-topic", metavar="NAME", help="Not files: retained topics, gateway/NAME/REQUEST."),
    ] = None,
    deployments: Annotated[
        list[str] | None,
        typer.Option("--deployment", "-d", metavar="NAME", help="Only requests for this one. Repeatable."),
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when everything has its outcome.")] = False,
    each_s: Annotated[float, typer.Option("--each", min=0.1, help="Seconds for one delivery on the line.")] = 30.0,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Deliveries that may fail before a request has.")] = 5,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="How long a line about what is done, or a topic, is kept.")
    ] = 7.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Deliver a journal's requests (`stageline submit`) and show each outcome exactly once, whatever is killed when.

    stageline gateway --journal /var/spool/cats --answers /srv/cats

    stageline gateway --journal /var/spool/cats --answers-topic cellar --until-empty --json -

    A request that was answered becomes REQUEST.json with REQUEST.npz, the model's outputs; one that failed becomes a
    REQUEST.json with the reason. Readers may take the files away. With --answers-topic it is a retained message, which
    its reader clears. One gateway per journal; it waits for a broker, a planner and devices that are away, until each
    request's deadline. With --until-empty somebody waits for its end: a broker that cannot be reached at its start ends
    it (exit code 2), and what is open stays so. An answer that finds a file of its name that is not ours is set aside
    until the gateway's next start; `stageline submit --status` tells. With --json FILE, what it does is written once it
    runs; with --until-empty, what it did. Under systemd (`stageline install gateway`) it says when it is up.

    Exit codes: 0 interrupted, or all were answered; 1 with --until-empty: some failed or were set aside; 2 to mend:
    another gateway runs, the journal or the answers' folder cannot be used, the broker does not let us in.
    """

    async def serve(report: Report) -> int:
        if answers is not None and answers_topic is not None:
            raise MendError("answers become files or topics: give --answers or --answers-topic")
        settings = settings_of(broker=broker, root=root)
        counts: Counter[str] = Counter()

        def doing() -> str:
            return f"answered {counts['answered']}, failed {counts['failed']}"

        async with supervised(ExecutorPulse(), doing) as ready, AsyncExitStack() as stack:
            opened = stack.enter_context(Journal(journal, must_exist=until_empty))
            stack.enter_context(sole_gateway(journal))
            opened.forget_before(time.time() - keep_days * _DAY_S)
            places = _Places(opened, settings, stack, keep_s=max(1.0, keep_days * _DAY_S))
            place = await (
                places.topic(answers_topic) if answers_topic else places.files(answers or journal / "answers")
            )
            bar = stack.enter_context(_bar(report))
            total = sum(one.open + one.arriving for one in opened.tallies())
            task = bar.add_task("delivering", total=total if until_empty else None)

            def seen(outcome: Outcome) -> None:
                counts[outcome.delivered.state] += 1
                if outcome.delivered.state == "failed" and counts["failed"] <= _FAILURES_TOLD:
                    said = outcome.delivered
                    report.err.print(f"{said.request} ({said.name}) failed: {said.reason}: {said.detail}", markup=False)
                bar.advance(task)
                bar.update(task, description=doing())

            running = Gateway(
                opened,
                place,
                place_of=places.named,
                client_of=lambda name: Client(
                    settings.broker, deployment=name, root=settings.root,
                    connect_timeout_s=_connect_timeout_s(settings, until_empty=until_empty),
                ),
                pace=Pace(each_s=each_s, tries=tries),
                only=deployments or (),
                until_empty=until_empty,
                seen=seen,
            )  # fmt: skip
            facts = {"journal": str(journal), "place": place.name, "pid": os.getpid()}
            if not until_empty:
                report.err.print(f"delivering {journal} to {place.name}; Ctrl-C ends, nothing is lost by it")
                report.write_json(facts)
            ready()
            await running.run()
            aside = sum(one.aside for one in opened.tallies())
            done = {"answered": counts["answered"], "failed": counts["failed"], "set_aside": aside}
            report.write_json({**facts, **done})
        told = f"; {aside} set aside" if aside else ""
        why = f": `stageline submit --journal {journal} --status` says why" if counts["failed"] or aside else ""
        report.out.print(f"{counts['answered']} answered, {counts['failed']} failed{told}{why}", markup=False)
        return SOME_FAILED if counts["failed"] or aside else DONE

    conduct_service(serve, json)


class _Places:
    """The places of one journal's outcomes, by the name that the journal knows."""

    def __init__(self, journal: Journal, settings: CommandSettings, stack: AsyncExitStack, *, keep_s: float) -> None:
        self._journal = journal
        self._settings = settings
        self._stack = stack
        self._keep_s = keep_s
        self._publisher: OncePublisher | None = None

    async def files(self, folder: Path) -> AnswerFiles:
        return AnswerFiles(folder, self._journal.name)

    async def topic(self, gateway: str) -> AnswerTopic:
        if self._publisher is None:
            address = BrokerAddress.parse(self._settings.broker)
            publisher = OncePublisher(address, f"gateway-{self._journal.name}", root=self._settings.root)
            self._publisher = await self._stack.enter_async_context(publisher)
        return AnswerTopic(self._publisher, gateway, keep_s=self._keep_s)

    async def named(self, name: str) -> Place:
        scheme, _, rest = name.partition(":")
        if f"{scheme}:" == answer_topic.SCHEME:
            return await self.topic(rest)
        if f"{scheme}:" == answer_files.SCHEME:
            return await self.files(Path(rest))
        raise MendError(f"the journal {self._journal.folder} shows answers at {name!r}, which nobody here knows")


def _connect_timeout_s(settings: CommandSettings, *, until_empty: bool) -> float | None:
    """A gateway that stays waits for its broker as for everything else; who waits for its end is told soon."""
    told = until_empty or "connect_timeout_s" in settings.model_fields_set
    return settings.connect_timeout_s if told else None


def _bar(report: Report) -> Progress:
    return Progress(
        TextColumn("{task.description}"), MofNCompleteColumn(), console=report.err, transient=True,
        disable=not report.err.is_terminal,
    )  # fmt: skip
