"""How every command runs and ends: tables for people, JSON for programs, one line for what somebody must mend."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from broker.address import BadAddressError
from broker.bus import Bus
from broker.errors import BusError
from schemas.base import InvalidNameError
from services.lifecycle import OperatorError, run
from services.settings import load
from stageline.settings import CommandSettings
from stageline.tables import WIDE_COLUMNS

DONE: Final = 0
SOME_FAILED: Final = 1
MEND: Final = 2
INTERRUPTED: Final = 130
_REFUSED_TIMEOUT_S: Final = 0.5
"""Where nothing listens, a hub that is just starting gets this long."""


class MendError(Exception):
    """Something that the person at the terminal must mend; the message says what and how. Exit code 2."""


def check_writable(file: Path, option: str = "") -> None:
    """Whether a file can be written; folders are not made, since a misspelt one would be, too.

    Args:
        file: the file, there already or not.
        option: what the person wrote it for.

    Raises:
        MendError: it cannot.
    """
    if file.is_dir():
        raise MendError(f"{option}{file} is a folder: name a file in it")
    if not file.parent.is_dir():
        raise MendError(f"{option}{file}: there is no folder {file.parent}; make it first (mkdir -p) or name another")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise MendError(f"{option}{file} cannot be written: permission denied")


KNOWN_ERRORS: Final = (MendError, OperatorError, BadAddressError, BusError, InvalidNameError)


class Report:
    """Where a command's outcome goes."""

    def __init__(self, json_target: str | None) -> None:
        self._json_target = json_target
        width = None if sys.stdout.isatty() else WIDE_COLUMNS
        self.out = Console(quiet=json_target == "-", highlight=False, emoji=False, width=width)
        """Tables and results."""
        self.err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        """Progress and remarks."""

    def check_json(self) -> None:
        """Notice before the work what would otherwise lose its outcome.

        Raises:
            MendError: the file for `--json` cannot be written.
        """
        if self._json_target not in (None, "-"):
            check_writable(Path(self._json_target), "--json ")

    def write_json(self, document: object, *, secret: bool = False) -> None:
        """Write what `--json` asked for; nothing where it did not. A file with a secret is its owner's only."""
        if self._json_target is None:
            return
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        if self._json_target == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        path = Path(self._json_target)
        if secret:
            path.touch(mode=0o600)
            path.chmod(0o600)
        path.write_text(text, encoding="utf-8")


def conduct(
    json_target: str | None,
    work: Callable[[Report], Coroutine[Any, Any, int] | int],
    *,
    known: tuple[type[Exception], ...] = (),
    interrupted: int = INTERRUPTED,
) -> None:
    """Run a command to its end and exit with its code.

    Args:
        json_target: the `--json` option.
        work: returns the exit code, or a coroutine that does.
        known: further errors whose message is all that a person needs; exit code 2.
        interrupted: the exit code after Ctrl-C; 130 as shells have it, where it is not the usual way to end.
    """
    report = Report(json_target)
    expected: tuple[type[Exception], ...] = (*KNOWN_ERRORS, *known)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        report.check_json()
        outcome = work(report)
        code = outcome if isinstance(outcome, int) else asyncio.run(outcome)
    except KeyboardInterrupt:
        code = interrupted
    except expected as error:
        code = _mend(report, error)
    except ExceptionGroup as group:
        if group.split(expected)[1] is not None:
            raise
        code = _mend(report, _first(group))
    raise typer.Exit(code)


def conduct_service(serve: Callable[[Report], Coroutine[Any, Any, int]], json_target: str | None) -> None:
    """Run a command that lasts until it is interrupted, with a service's signals, log and exit codes."""
    report = Report(json_target)
    code = DONE

    async def main() -> None:
        nonlocal code
        try:
            report.check_json()
            code = await serve(report)
        except KNOWN_ERRORS as error:
            code = _mend(report, error)
        except ExceptionGroup as group:
            if group.split(KNOWN_ERRORS)[1] is not None:
                raise
            code = _mend(report, _first(group))

    failed = run(main, log_level="WARNING")
    raise typer.Exit(failed or code)


def _mend(report: Report, error: BaseException) -> int:
    report.err.print(f"[red]stageline:[/red] {escape(str(error))}")
    with contextlib.suppress(OSError):  # what is wrong may be that file
        report.write_json({"error": str(error), "kind": type(error).__name__})
    return MEND


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def settings_of(**flags: object) -> CommandSettings:
    """Settings from the environment and the flags that were given."""
    return load(CommandSettings, option_names={}, **flags)


def open_bus(settings: CommandSettings, name: str) -> Bus:
    """A connection for one command."""
    return Bus(
        settings.broker,
        name=name,
        root=settings.root,
        connect_timeout_s=settings.connect_timeout_s,
        refused_timeout_s=_REFUSED_TIMEOUT_S,
    )
