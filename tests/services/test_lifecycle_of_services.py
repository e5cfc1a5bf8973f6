"""Starting, stopping, exit codes, and what the log looks like."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from types import SimpleNamespace

import pytest

from broker.address import BadAddressError, BrokerAddress
from broker.errors import BrokerRefusedError, BrokerUnreachableError
from services.lifecycle import JsonLines, OperatorError, PlainLines, launch, run
from services.settings import DeviceSettings, load


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_good_order_with_exit_code_0(number):
    farewells = []

    async def main() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            farewells.append("goodbye")

    assert run(main) == 0
    assert farewells == ["goodbye"]


def test_a_second_signal_cuts_a_hanging_farewell_short():
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    assert run(main) == 0


def test_what_a_person_must_mend_is_one_line_and_exit_code_2(capsys):
    async def main() -> None:
        raise OperatorError("mend this, like so")

    assert run(main) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert line["message"] == "mend this, like so"
    assert line["level"] == "error"


def test_a_known_error_is_found_inside_a_task_group(capsys):
    async def fail() -> None:
        raise BadAddressError("ftp://hub", "the scheme must be mqtt")

    async def main() -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(fail())
            loops.create_task(asyncio.Event().wait())

    assert run(main) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "ftp://hub" in str(line["message"])


def test_a_known_error_beside_an_unknown_one_is_a_crash():
    async def known() -> None:
        raise OperatorError("mend this")

    async def unknown() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(known())
            loops.create_task(unknown())

    assert run(main) == 1


def test_a_crash_stays_a_crash_with_its_traceback(capsys):
    async def main() -> None:
        raise ZeroDivisionError("of all things")

    assert run(main) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line["level"] == "critical"
    assert "ZeroDivisionError: of all things" in str(line["exception"])


def test_a_crash_during_the_farewell_is_not_hidden_by_the_signal():
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    assert run(main) == 1


@pytest.mark.parametrize(("timeout_s", "code"), [(5.0, 2), (None, 1)])
def test_an_unreachable_broker_is_for_the_supervisor_unless_somebody_set_a_time(timeout_s, code):
    async def serve(_settings: DeviceSettings) -> None:
        raise BrokerUnreachableError(BrokerAddress("hub"), 5.0, "refused")

    assert launch(lambda: load(DeviceSettings, connect_timeout_s=timeout_s), serve) == code


@pytest.mark.parametrize("reason", [0x80, 0x88, 0x89, 0x97, 0x9F], ids=hex)
def test_a_broker_that_is_too_busy_now_is_for_the_supervisor(reason, capsys):
    async def main() -> None:
        raise BrokerRefusedError(BrokerAddress("hub"), reason)

    assert run(main) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert "later" in str(line["message"])
    assert "password" not in str(line["message"])


@pytest.mark.parametrize("reason", [0x85, 0x86, 0x87], ids=hex)
def test_a_broker_that_does_not_want_us_is_for_a_person_to_mend(reason, capsys):
    async def main() -> None:
        raise BrokerRefusedError(BrokerAddress("hub"), reason)

    assert run(main) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "stageline invite" in str(line["message"])


def test_bad_settings_are_exit_code_2_before_anything_runs(capsys):
    async def serve(_settings: DeviceSettings) -> None:
        pytest.fail("must not run")

    assert launch(lambda: load(DeviceSettings, device="not legal"), serve) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "STAGELINE_DEVICE" in str(line["message"])


def test_extra_fields_are_fields_in_json_and_words_on_a_terminal():
    record = logging.makeLogRecord({"name": "n", "levelname": "INFO", "levelno": 20, "msg": "hello", "device": "pi4"})
    assert json.loads(JsonLines().format(record))["device"] == "pi4"
    assert PlainLines().format(record).endswith("hello device=pi4")


def test_the_level_of_the_settings_holds(capsys):
    async def serve(_settings: object) -> None:
        logging.getLogger("somewhere").info("not to be seen")

    launch(lambda: SimpleNamespace(log_level="WARNING", connect_timeout_s=None), serve)
    assert capsys.readouterr().err == ""
