"""How every service starts, logs and stops: the one place that knows about signals and exit codes.

Exit codes: 0 it was asked to stop; 1 it crashed or the broker is too busy for it, and a supervisor should start it
again; 2 something that a person must mend (a setting, a name, an unreachable broker), said in one line.

Log lines are JSON objects where stderr is no terminal: `time`, `level`, `logger`, `message`, `exception` of a bug, and
these fields where they mean something:

- `request`, `attempt`, `submitter`: whose frame it is about, and which try;
- `deployment`, `generation`, `stage`: where it is in a plan; a line about a frame carries these three and those above;
- `device`, `model`, `blocks`: what it is about otherwise;
- a few of one module's own, such as `why` or `state`.

What many frames may cause is logged at most every five seconds for each reason (`broker.rejections`), and counted.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

from broker.address import BadAddressError
from broker.errors import BrokerRefusedError, BrokerUnreachableError, BusError
from schemas.base import InvalidNameError
from services.log_limits import LogLimit
from services.notify import notify

logger = logging.getLogger(__name__)

EXIT_STOPPED: Final = 0
EXIT_CRASHED: Final = 1
EXIT_MEND: Final = 2
_STDERR: Final = 2
_PLAIN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class OperatorError(Exception):
    """Something that the person who runs the service must mend; the message says what and how. Exit code 2."""


KNOWN_ERRORS: Final = (OperatorError, InvalidNameError, BadAddressError, BusError)


class CommonSettings(Protocol):
    """Settings, as far as this module needs them."""

    @property
    def log_level(self) -> str:
        """A name of the logging module."""

    @property
    def connect_timeout_s(self) -> float | None:
        """How long to look for the broker; None is for ever."""


S = TypeVar("S", bound=CommonSettings)


def launch(load: Callable[[], S], serve: Callable[[S], Coroutine[Any, Any, None]]) -> int:
    """Load the settings, log at their level, run the service until it ends. Returns the exit code."""
    configure_logging("INFO")
    # The watchdog ends a service that hangs by SIGABRT: then the log shows where each of its threads was.
    faulthandler.enable(_STDERR)
    try:
        settings = load()
    except KNOWN_ERRORS as error:
        logger.error("%s", error)  # noqa: TRY400  one line for the operator; a traceback would bury it
        return EXIT_MEND
    never_give_up = settings.connect_timeout_s is None
    before = set(threading.enumerate())
    code = run(lambda: serve(settings), log_level=settings.log_level, never_give_up=never_give_up)
    stuck = [thread.name for thread in threading.enumerate() if thread not in before]
    if stuck:
        # The interpreter's own way out would wait for them, or pull down what they compute with and crash.
        logger.warning("leaving without threads that did not end: %s", ", ".join(stuck))
        logging.shutdown()
        os._exit(code)
    return code


def run(main: Callable[[], Coroutine[Any, Any, None]], *, log_level: str = "INFO", never_give_up: bool = False) -> int:
    """Run `main()` on a new event loop until it ends, fails, or SIGTERM or SIGINT cancels it.

    A second signal cancels what the first one left running, so that a farewell that hangs can be cut short.

    Args:
        never_give_up: nobody set a time after which the broker counts as unreachable, so if it is, the supervisor
            should start us again: exit code 1 instead of 2.

    Returns:
        The exit code. A known error is one log line, anything else is logged with its traceback.
    """
    configure_logging(log_level)
    try:
        asyncio.run(_until_signalled(main))
    except Exception as error:
        known = _known(error)
        if known is None:
            logger.critical("crashed: %s", error, exc_info=error)
            return EXIT_CRASHED
        logger.error("%s", known)  # noqa: TRY400  as above
        return EXIT_CRASHED if _passes(known, never_give_up=never_give_up) else EXIT_MEND
    return EXIT_STOPPED


async def _until_signalled(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(main())
    loop = asyncio.get_running_loop()
    stopping = False

    def stop(name: str) -> None:
        nonlocal stopping
        stopping = True
        logger.info("stopping", extra={"signal": name})
        notify(stopping=1, status="stopping: says goodbye and finishes what is under way")
        task.cancel()

    caught = (signal.SIGTERM, signal.SIGINT)
    for number in caught:
        loop.add_signal_handler(number, stop, number.name)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _known(error: BaseException) -> BaseException | None:
    """The first known error when there is nothing else in `error` (task groups wrap theirs in groups)."""
    if isinstance(error, BaseExceptionGroup):
        known = [_known(inner) for inner in error.exceptions]
        return known[0] if all(known) else None
    return error if isinstance(error, KNOWN_ERRORS) else None


def _passes(error: BaseException, *, never_give_up: bool) -> bool:
    """Starting again may help, and nobody need do anything."""
    if isinstance(error, BrokerRefusedError):
        return error.temporary
    return never_give_up and isinstance(error, BrokerUnreachableError)


def configure_logging(level: str) -> None:
    """Log to stderr: readable lines on a terminal, one JSON object per line otherwise. Repeatable."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines())
    handler.addFilter(LogLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """One JSON object per record; what was given as `extra` becomes fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class PlainLines(logging.Formatter):
    """`12:30:01 INFO    services.monitor.main: connected broker=...`, for people at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The line, with the extra fields behind the message."""
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        return harmless(super().formatMessage(record) + fields)


def harmless(text: str) -> str:
    """Text in which nothing moves a terminal's cursor or begins a line that looks like one of ours."""
    if text.isprintable():
        return text
    lines = ("".join(one if one.isprintable() else ascii(one)[1:-1] for one in line) for line in text.split("\n"))
    return "\n    | ".join(lines)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
