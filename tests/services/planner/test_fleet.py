"""The picture of the fleet as values: who may be planned with, and which words are of a life that is over."""

from __future__ import annotations

import math
from typing import Any

import pytest

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.device import DeviceInfo, DeviceStatus, Duty, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.stages import StagesHeld
from schemas.topics import (
    DEVICE_DUTY,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TIMING,
    PLAN_CURRENT,
    Topic,
)
from services.planner.fleet import Fleet, improved, lost, read_fleet

SHA = "c" * 64
PI = {"device": "pi"}


def status(*, online: bool = True, boot: str = "m1") -> DeviceStatus:
    return DeviceStatus(device="pi", boot_id=boot, online=online)


def stages(*, online: bool = True, boot: str = "w1", threads: int = 1) -> StagesHeld:
    return StagesHeld(device="pi", boot_id=boot, online=online, threads=threads, reason="" if online else "gone")


def info(*, cores: float = 1.0, boot: str = "m1") -> DeviceInfo:
    return DeviceInfo(
        device="pi", boot_id=boot, hostname="pi", machine="Pi 4", architecture="aarch64", cores=4, capacity_cores=cores,
        memory_bytes=1 << 30, power=PowerModel(idle_w=2, busy_w=6, method="modelled", source="table"),
    )  # fmt: skip


def telemetry(*, cores: float = 1.0, boot: str = "m1", link: bool = True, sequence: int = 1) -> Telemetry:
    measure = LinkMeasure(rtt_ms=2, up_mbps=100, down_mbps=100, probe_bytes=1 << 18, age_s=1)
    return Telemetry(
        device="pi", boot_id=boot, sequence=sequence, unix_time=0, load=0.1, capacity_cores=cores,
        memory_free_bytes=1 << 29, memory_bytes=1 << 30, link=measure if link else None,
        power=Power(watts=3, method="modelled", source="table"),
    )  # fmt: skip


def profile(*, sha: str = SHA, cores: float = 1.0, threads: int = 1) -> Profile:
    return Profile(
        device="pi", boot_id="w1", model="net", card_sha=sha, backend="onnxruntime", threads=threads, block_ms=(1.0,),
        frame_ms=0.2, frame_ms_per_mb=1.0, rounds=3, capacity_cores=cores,
    )  # fmt: skip


def fold(*said: tuple[Topic[Any], Any], fleet: Fleet | None = None, retained: bool = False) -> Fleet:
    fleet = fleet or Fleet()
    for topic, message in said:
        parameters = {**PI, "model": "net"} if topic is DEVICE_PROFILE else PI
        fleet = fleet.with_message(topic, parameters, message, retained=retained)
    return fleet


WHOLE: tuple[tuple[Topic[Any], Any], ...] = (
    (DEVICE_STATUS, status()),
    (DEVICE_INFO, info()),
    (DEVICE_TELEMETRY, telemetry()),
    (DEVICE_STAGES, stages()),
    (DEVICE_PROFILE, profile()),
)


def test_a_device_is_usable_once_its_worker_its_size_and_its_link_are_known() -> None:
    assert list(fold(*WHOLE).usable) == ["pi"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ((DEVICE_STAGES, None), "no worker"),
        ((DEVICE_STAGES, stages(online=False)), "offline (gone)"),
        ((DEVICE_INFO, None), "what the device is"),
        ((DEVICE_TELEMETRY, None), "link"),
    ],
)
def test_a_device_that_may_not_be_planned_with_says_why(changed: tuple[Topic[Any], Any], why: str) -> None:
    fleet = fold(*WHOLE, changed)
    assert not fleet.usable
    assert why in fleet.devices["pi"].absence


def test_a_monitor_that_is_down_leaves_its_last_words_usable_and_marked_stale() -> None:
    before = fold(*WHOLE)
    after = fold((DEVICE_STATUS, status(online=False)), fleet=before)
    assert not before.devices["pi"].stale
    assert after.devices["pi"].stale
    assert list(after.usable) == ["pi"]
    assert lost(before, after) == ()


def test_a_device_whose_link_was_never_measured_may_not_be_planned_with() -> None:
    fleet = fold(
        *(said for said in WHOLE if said[0] is not DEVICE_TELEMETRY), (DEVICE_TELEMETRY, telemetry(link=False))
    )
    assert "link" in fleet.devices["pi"].absence


def test_a_monitor_that_started_again_leaves_the_link_as_it_was_until_it_has_measured() -> None:
    before = fold(*WHOLE)
    after = fold((DEVICE_STATUS, status(boot="m2")), (DEVICE_TELEMETRY, telemetry(boot="m2", link=False)), fleet=before)
    assert lost(before, after) == ()
    assert after.devices["pi"].link == before.devices["pi"].link


def test_a_late_will_does_not_bury_a_reborn_worker() -> None:
    reborn = fold(*WHOLE, (DEVICE_STAGES, stages(boot="w2")))
    assert fold((DEVICE_STAGES, stages(online=False, boot="w1")), fleet=reborn) is reborn


def test_a_late_will_of_a_life_nobody_saw_does_not_bury_who_is_there() -> None:
    fleet = fold(*WHOLE)
    assert fold((DEVICE_STAGES, stages(online=False, boot="w0")), fleet=fleet) is fleet


def test_a_will_that_the_broker_kept_counts_unless_its_life_is_known_to_be_over() -> None:
    fleet = fold(*WHOLE)
    born_and_died_unseen = fold((DEVICE_STAGES, stages(online=False, boot="w2")), fleet=fleet, retained=True)
    assert not born_and_died_unseen.usable
    reborn = fold(*WHOLE, (DEVICE_STAGES, stages(boot="w2")))
    assert fold((DEVICE_STAGES, stages(online=False, boot="w1")), fleet=reborn, retained=True) is reborn


def test_a_stale_report_of_a_life_before_is_no_news() -> None:
    reborn = fold(*WHOLE, (DEVICE_STAGES, stages(boot="w2")), (DEVICE_STATUS, status(boot="m2")))
    assert fold((DEVICE_STAGES, stages(boot="w1")), (DEVICE_STATUS, status(boot="m1")), fleet=reborn) is reborn
    late = fold((DEVICE_TELEMETRY, telemetry(cores=2.0, boot="m1")), fleet=reborn)
    assert late.devices["pi"].telemetry == reborn.devices["pi"].telemetry
    news = fold((DEVICE_TELEMETRY, telemetry(cores=2.0, boot="m2")), fleet=reborn)
    assert news.devices["pi"].capacity_cores == 2.0


def test_a_life_that_was_thought_over_may_speak_again_when_nobody_else_does() -> None:
    fleet = fold(*WHOLE, (DEVICE_STAGES, stages(boot="w2")), (DEVICE_STAGES, stages(online=False, boot="w2")))
    assert not fleet.usable
    assert list(fold((DEVICE_STAGES, stages(boot="w1")), fleet=fleet).usable) == ["pi"]


def test_a_worker_that_started_again_is_both_lost_and_improved() -> None:
    before = fold(*WHOLE)
    after = fold((DEVICE_STAGES, stages(boot="w2")), fleet=before)
    assert (lost(before, after), improved(before, after)) == (("pi",), ("pi",))


def test_news_that_change_nothing_lose_and_improve_nothing() -> None:
    before = fold(*WHOLE)
    after = fold((DEVICE_TELEMETRY, telemetry(sequence=2)), (DEVICE_STAGES, stages()), fleet=before)
    assert (lost(before, after), improved(before, after)) == ((), ())
    assert (lost(Fleet(), before), improved(Fleet(), before)) == ((), ("pi",))


def test_a_new_profile_improves_and_the_same_again_does_not() -> None:
    before = fold(*[said for said in WHOLE if said[0] is not DEVICE_PROFILE])
    measured = fold((DEVICE_PROFILE, profile()), fleet=before)
    again = fold((DEVICE_PROFILE, profile()), fleet=measured)
    cleared = fold((DEVICE_PROFILE, None), fleet=again)
    assert [improved(*pair) for pair in ((before, measured), (measured, again), (again, cleared))] == [("pi",), (), ()]


def test_topics_that_say_nothing_of_the_fleet_change_nothing() -> None:
    fleet = fold(*WHOLE)
    assert fold((DEVICE_TIMING, None), (PLAN_CURRENT, None), fleet=fleet) is fleet


def test_after_a_reconnect_workers_must_speak_for_themselves() -> None:
    doubtful = fold(*WHOLE).with_doubts()
    assert doubtful.doubted == {"pi"}
    assert list(doubtful.usable) == ["pi"]
    kept = fold((DEVICE_STAGES, stages()), fleet=doubtful, retained=True)
    assert kept.doubted == {"pi"}
    assert not kept.without_doubted().usable
    spoken = fold((DEVICE_STAGES, stages()), fleet=doubtful)
    assert spoken.doubted == frozenset()
    assert list(spoken.without_doubted().usable) == ["pi"]
    assert list(fold((DEVICE_STAGES, stages()), fleet=kept.without_doubted()).usable) == ["pi"]


@pytest.mark.parametrize(
    ("changed", "valid"),
    [
        ((DEVICE_PROFILE, profile()), True),
        ((DEVICE_PROFILE, None), False),
        ((DEVICE_PROFILE, profile(sha="d" * 64)), False),
        ((DEVICE_PROFILE, profile(threads=2)), False),
        ((DEVICE_TELEMETRY, telemetry(cores=0.25)), True),
    ],
)
def test_a_profile_counts_for_the_same_card_and_threads_whatever_the_quota_is_now(
    changed: tuple[Topic[Any], Any], valid: bool
) -> None:
    device = fold(*WHOLE, changed).devices["pi"]
    assert (device.profile_of("net", SHA) is not None) == valid
    assert math.isfinite(device.capacity_cores)


def drain(*, reason: str = "") -> Duty:
    return Duty(device="pi", duty="drain", reason=reason)


def test_a_device_that_is_drained_may_not_be_planned_with_but_works_on() -> None:
    before = fold(*WHOLE)
    after = fold((DEVICE_DUTY, drain(reason="new fan")), fleet=before)
    device = after.devices["pi"]
    assert "drained (new fan)" in device.absence
    assert "stageline drain pi --undo" in device.absence
    assert (device.gone, lost(before, after)) == ("", ("pi",))


@pytest.mark.parametrize("end", [None, Duty(device="pi", duty="serve")])
def test_a_device_is_used_again_when_its_drain_is_undone(end: Duty | None) -> None:
    drained = fold(*WHOLE, (DEVICE_DUTY, drain()))
    after = fold((DEVICE_DUTY, end), fleet=drained)
    assert improved(drained, after) == ("pi",)
    assert list(after.usable) == ["pi"]


def test_a_device_of_which_nothing_is_left_is_no_longer_in_the_fleet() -> None:
    before = fold(*WHOLE, (DEVICE_DUTY, drain()))
    cleared = [(topic, None) for topic, _ in (*WHOLE, (DEVICE_DUTY, None))]
    assert list(fold(*cleared[:-1], fleet=before).devices) == ["pi"]
    assert not fold(*cleared, fleet=before).devices
    used = fold(*WHOLE)
    assert lost(used, fold(*cleared, fleet=used)) == ("pi",)


def test_a_worker_that_hangs_is_lost_and_one_that_is_back_improves_the_fleet() -> None:
    before = fold(*WHOLE)
    hung = before.with_hung({"pi": "its worker hangs"})
    assert lost(before, hung) == ("pi",)
    assert hung.devices["pi"].gone == "its worker hangs"
    back = hung.with_hung({})
    assert improved(hung, back) == ("pi",)
    assert back.with_hung({}) is back


async def test_the_fleet_can_be_read_from_what_the_broker_keeps(broker: EmbeddedBroker, root: str) -> None:
    async with Bus(broker.url, name="pi", root=root) as bus:
        for topic, message in WHOLE:
            await bus.publish(topic, message, device="pi", model="net")
        fleet = await read_fleet(bus)
    assert fleet.devices["pi"] == fold(*WHOLE).devices["pi"]
