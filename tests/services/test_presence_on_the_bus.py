"""Holding a name: newcomers are refused, the dead are replaced, late wills bury nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from broker.bus import Bus
from schemas.device import Claim, DeviceStatus
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_CLAIM, DEVICE_STAGES, DEVICE_STATUS
from services import presence as presence_module
from services.presence import DuplicateNameError, Presence, claim_name, new_boot_id, verdict

WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Who holds a name may take as long to answer as this machine's other work makes it."""
    monkeypatch.setattr(presence_module, "ANSWER_WITHIN_S", WITHIN_S)


def status(boot_id: str, *, online: bool = True) -> DeviceStatus:
    return DeviceStatus(device="pi4", boot_id=boot_id, online=online)


def presence(bus: Bus, boot_id: str) -> Presence[DeviceStatus]:
    return Presence(bus, DEVICE_STATUS, device="pi4", boot_id=boot_id, role="monitor", current=lambda: status(boot_id))


@contextlib.asynccontextmanager
async def guarding(bus: Bus, boot_id: str):
    """A holder of the name, once its birth has been seen."""
    async with bus.subscribe(DEVICE_STATUS, device="pi4") as states:
        task = asyncio.create_task(presence(bus, boot_id).guard())
        try:
            await until(states, lambda state: state.online and state.boot_id == boot_id)
            yield states, task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(states, wanted) -> DeviceStatus:
    async with asyncio.timeout(WITHIN_S):
        async for delivery in states:
            if wanted(delivery.message):
                return delivery.message
    raise AssertionError("the subscription ended")


def claim(bus: Bus, boot_id: str):
    return claim_name(bus, device="pi4", boot_id=boot_id, role="monitor", hostname="somewhere")


@pytest.fixture
async def holder(broker, root):
    async with Bus(broker.url, name="holder", root=root) as bus:
        yield bus


@pytest.fixture
async def newcomer(broker, root):
    async with Bus(broker.url, name="newcomer", root=root) as bus:
        yield bus


async def test_a_name_that_nobody_holds_is_free_at_once(newcomer, monkeypatch):
    monkeypatch.setattr(presence_module, "ANSWER_WITHIN_S", 3600)
    async with asyncio.timeout(WITHIN_S):
        await claim(newcomer, "b")


async def test_a_name_whose_holder_said_goodbye_is_free_at_once(holder, newcomer, monkeypatch):
    monkeypatch.setattr(presence_module, "ANSWER_WITHIN_S", 3600)
    await holder.publish(DEVICE_STATUS, status("a", online=False), device="pi4")
    async with asyncio.timeout(WITHIN_S):
        await claim(newcomer, "b")


async def test_a_name_with_a_living_holder_is_refused(holder, newcomer):
    async with guarding(holder, "a"):
        with pytest.raises(DuplicateNameError, match=r"another monitor named 'pi4' .*--device NAME"):
            await claim(newcomer, "b")


async def test_a_dead_holders_name_can_be_taken_though_its_will_has_not_come(holder, newcomer, monkeypatch):
    monkeypatch.setattr(presence_module, "ANSWER_WITHIN_S", 0.2)
    await holder.publish(DEVICE_STATUS, status("a"), device="pi4")
    await claim(newcomer, "b")


async def test_being_asked_who_holds_the_name_is_no_warning(holder, newcomer, caplog):
    async with guarding(holder, "a") as (states, _):
        asked = Claim(device="pi4", boot_id="p", role="monitor", hostname="hub")
        with caplog.at_level(logging.INFO, logger="services.presence"):
            await newcomer.publish(DEVICE_CLAIM, asked, device="pi4")
            await until(states, lambda state: state.online)
    assert [record.levelname for record in caplog.records if "asked" in record.message] == ["INFO"]


async def test_a_late_will_does_not_bury_who_came_back(holder, newcomer):
    async with guarding(newcomer, "b") as (states, _):
        await holder.publish(DEVICE_STATUS, status("a", online=False), device="pi4")
        await until(states, lambda state: state.boot_id == "a" and not state.online)
        await until(states, lambda state: state.boot_id == "b" and state.online)


async def test_its_own_will_after_a_broken_connection_is_undone(holder, newcomer):
    async with guarding(newcomer, "b") as (states, _):
        await holder.publish(DEVICE_STATUS, status("b", online=False), device="pi4")
        await until(states, lambda state: not state.online)
        await until(states, lambda state: state.online)


async def test_of_two_that_took_the_name_at_once_the_earlier_stays(holder, newcomer):
    async with guarding(holder, "a") as (states, first):
        second = asyncio.create_task(presence(newcomer, "b").guard())
        done, _ = await asyncio.wait([second], timeout=WITHIN_S)
        assert done, "neither gave way"
        with pytest.raises(ExceptionGroup) as caught:
            second.result()
        assert caught.group_contains(DuplicateNameError)
        assert not first.done()
        await first_remains(holder, states)


async def first_remains(bus: Bus, states) -> None:
    """The retained state is the first one's, once everything that was under way has arrived."""
    await bus.publish(DEVICE_STATUS, status("zzz", online=False), device="pi4")
    await until(states, lambda state: state.boot_id == "zzz")
    assert (await until(states, lambda state: state.boot_id != "zzz")).boot_id == "a"


async def test_monitor_and_worker_of_one_device_do_not_refuse_each_other(holder, newcomer):
    async with guarding(holder, "a"):
        await claim_name(newcomer, device="pi4", boot_id="b", role="worker", hostname="pi4")


async def test_a_second_worker_is_refused_by_the_first(holder, newcomer):
    held = StagesHeld(device="pi4", boot_id="a", online=True)
    guard = Presence(holder, DEVICE_STAGES, device="pi4", boot_id="a", role="worker", current=lambda: held).guard()
    async with holder.subscribe(DEVICE_STAGES, device="pi4") as states:
        task = asyncio.create_task(guard)
        await until(states, lambda state: state.online)
        with pytest.raises(DuplicateNameError, match="another worker"):
            await claim_name(newcomer, device="pi4", boot_id="b", role="worker", hostname="elsewhere")
        task.cancel()
        await asyncio.wait([task])


async def test_the_holder_does_not_answer_its_own_claim_nor_another_roles(holder, newcomer):
    async with guarding(holder, "b") as (states, _):
        for boot_id, role in [("b", "monitor"), ("x", "worker")]:
            await newcomer.publish(
                DEVICE_CLAIM, Claim(device="pi4", boot_id=boot_id, role=role, hostname="h"), device="pi4"
            )
        await newcomer.publish(DEVICE_STATUS, status("mark", online=False), device="pi4")
        assert (await until(states, lambda _: True)).boot_id == "mark"


async def test_the_farewell_says_offline_and_why(holder, newcomer):
    async with newcomer.subscribe(DEVICE_STATUS, device="pi4") as states:
        with pytest.raises(ZeroDivisionError):
            async with presence(holder, "a").farewell(
                lambda reason: DeviceStatus(device="pi4", boot_id="a", online=False, reason=reason)
            ):
                raise ZeroDivisionError
        assert (await until(states, lambda state: not state.online)).reason == "crashed"


async def test_who_yields_a_name_does_not_bury_its_holder(holder, newcomer):
    async with newcomer.subscribe(DEVICE_STATUS, device="pi4") as states:
        with pytest.raises(ExceptionGroup):
            async with presence(holder, "a").farewell(lambda _: status("a", online=False)):
                raise ExceptionGroup("loops", [DuplicateNameError("pi4", "monitor", "")])
        await newcomer.publish(DEVICE_STATUS, status("mark", online=False), device="pi4")
        assert (await until(states, lambda _: True)).boot_id == "mark"


@pytest.mark.parametrize(
    ("theirs", "online", "retained", "expected"),
    [
        ("m", True, False, "ours"),
        ("m", True, True, "ours"),
        ("m", False, False, "announce"),
        ("a", False, True, "announce"),
        ("a", True, True, "announce"),
        ("z", True, False, "announce"),
        ("a", True, False, "yield"),
    ],
)
def test_the_verdict_on_a_state_under_our_name(theirs, online, retained, expected):
    assert verdict(status(theirs, online=online), retained=retained, boot_id="m") == expected


def test_later_lives_sort_after_earlier_ones(monkeypatch):
    monkeypatch.setattr(presence_module.time, "time", lambda: 1_700_000_000)
    first = new_boot_id()
    monkeypatch.setattr(presence_module.time, "time", lambda: 4_000_000_000)
    assert first < new_boot_id()
