"""Of two lives under one name, the one that speaks is there: a lie buries nobody, nor does a life that is over."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Power, PowerModel, Telemetry
from schemas.stages import StagesHeld
from schemas.topics import DEVICE_INFO, DEVICE_STAGES, DEVICE_STATUS, DEVICE_TELEMETRY, Topic
from services.planner.fleet import Fleet
from services.planner.heartbeat import ANSWER_S, SILENT_S, Heartbeats
from services.planner.lives import BELIEVED

PI = {"device": "pi"}
Said = tuple[Topic[Any], Any]


def status(boot: str, *, online: bool = True) -> Said:
    return DEVICE_STATUS, DeviceStatus(device="pi", boot_id=boot, online=online)


def stages(boot: str) -> Said:
    return DEVICE_STAGES, StagesHeld(device="pi", boot_id=boot, online=True)


def info(boot: str, cores: float) -> Said:
    return DEVICE_INFO, DeviceInfo(
        device="pi", boot_id=boot, hostname="pi", machine="Pi 4", architecture="aarch64", cores=4, capacity_cores=cores,
        memory_bytes=1 << 30, power=PowerModel(idle_w=2, busy_w=6, method="modelled", source="table"),
    )  # fmt: skip


def telemetry(boot: str, cores: float) -> Said:
    measure = LinkMeasure(rtt_ms=2, up_mbps=100, down_mbps=100, probe_bytes=1 << 18, age_s=1)
    return DEVICE_TELEMETRY, Telemetry(
        device="pi", boot_id=boot, sequence=1, unix_time=0, load=0.1, capacity_cores=cores, memory_free_bytes=1 << 29,
        memory_bytes=1 << 30, link=measure, power=Power(watts=3, method="modelled", source="table"),
    )  # fmt: skip


def fold(fleet: Fleet, *said: Said, retained: bool = False, awaited: bool = False) -> Fleet:
    for topic, message in said:
        fleet = fleet.with_message(topic, PI, message, retained=retained, awaited=awaited)
    return fleet


WHOLE = fold(Fleet(), status("m1"), info("m1", 2.0), telemetry("m1", 2.0), stages("w1"))
LIED = fold(WHOLE, status("0"), info("0", 4096.0), telemetry("0", 4096.0), stages("0"))


def test_a_made_up_worker_gives_way_to_the_real_one_that_answers_in_its_place() -> None:
    assert LIED.devices["pi"].boot == "0"
    assert fold(LIED, stages("w1")).devices["pi"].boot == "0"
    assert fold(LIED, stages("w1"), awaited=True).devices["pi"].boot == "w1"


@pytest.mark.parametrize("unheard", ["hung", "doubted"])
def test_whoever_speaks_is_believed_in_place_of_one_that_hangs_or_that_only_the_broker_remembers(unheard: str) -> None:
    fleet = LIED.with_hung({"pi": "its worker hangs"}) if unheard == "hung" else LIED.with_doubts()
    assert fold(fleet, stages("w1")).devices["pi"].boot == "w1"
    assert fold(fleet, stages("w1"), retained=True).devices["pi"].boot == "0"


def test_a_worker_that_was_silent_and_one_that_ended_are_not_mixed_up() -> None:
    ended = DEVICE_STAGES, StagesHeld(device="pi", boot_id="w1", online=False)
    assert fold(LIED, ended, awaited=True).devices["pi"].boot == "0"
    assert fold(LIED, stages("w2")).devices["pi"].boot == "w2"


def test_a_monitor_whose_telemetry_goes_on_is_there_whatever_was_said_in_its_name() -> None:
    fleet = fold(LIED, status("m1"), info("m1", 2.0))
    for _ in range(BELIEVED - 1):
        fleet = fold(fleet, telemetry("m1", 1.0))
        assert fleet.devices["pi"].capacity_cores == 4096.0
    device = fold(fleet, telemetry("m1", 1.0)).devices["pi"]
    assert (device.capacity_cores, device.info) == (1.0, info("m1", 2.0)[1])
    assert device.status == status("m1")[1]
    gone = fold(fleet, telemetry("m1", 1.0), status("m1", online=False)).devices["pi"]
    assert gone.stale


def test_the_last_words_of_a_monitor_that_ended_do_not_bury_its_successor() -> None:
    fleet = fold(WHOLE, status("m2"))
    for _ in range(2 * BELIEVED):
        fleet = fold(fleet, telemetry("m1", 9.0), telemetry("m2", 3.0))
        assert fleet.devices["pi"].capacity_cores == 3.0
    for _ in range(2 * BELIEVED):
        fleet = fold(fleet, telemetry("m1", 9.0), retained=True)
    assert fleet.devices["pi"].capacity_cores == 3.0


def test_a_worker_owes_an_answer_from_the_question_until_it_speaks() -> None:
    beats = Heartbeats().passed(0.0, {"pi": "b1"})
    assert not beats.awaits("pi")
    assert not beats.awaits("nobody")
    for _ in range(round(SILENT_S / 0.1) + 1):
        beats = beats.passed(0.1, {"pi": "b1"})
    assert beats.to_ask() == ("pi",)
    assert beats.asking("pi").awaits("pi")
    asked = beats.asking("pi").asked("pi")
    assert asked.awaits("pi")
    assert asked.passed(ANSWER_S / 2, {"pi": "b2"}).awaits("pi") is False
    assert not asked.heard("pi", "b1").awaits("pi")
