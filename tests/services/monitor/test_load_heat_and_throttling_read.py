"""Busy share, temperature and the Pi's throttling flags, from recorded machines."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from schemas.device import Throttling
from services.monitor.load import CpuUse, LoadMeter, busy_share
from services.monitor.temperature import Reading, Thermometer, pick
from services.monitor.throttling import ThrottlingReader, parse_throttled


def use(at_s: float, used_s: dict[int, float], scope: str = "group", cores: float = 0.5) -> CpuUse:
    return CpuUse(at_s, scope, used_s, cores)


def test_busy_share_is_of_the_capacity_and_not_of_the_machine():
    assert busy_share(use(0, {0: 10.0}), use(2, {0: 10.5})) == pytest.approx(0.5)


def test_busy_share_stays_between_0_and_1():
    assert busy_share(use(0, {0: 10.0}), use(1, {0: 19.0})) == 1.0
    assert busy_share(use(0, {0: 10.0}), use(1, {0: 9.0})) == 0.0
    assert busy_share(use(5, {0: 1.0}), use(5, {0: 2.0})) == 0.0


def test_a_process_that_ended_takes_nothing_from_the_others():
    before, after = use(0, {1: 4.0, 2: 50.0}), use(1, {1: 4.25, 3: 7.0})
    assert busy_share(before, after) == pytest.approx(0.5)


def test_readings_of_different_groups_have_no_difference():
    assert busy_share(use(0, {0: 1.0}, "machine"), use(1, {0: 1.4})) == 0.0


MOUNTED = "29 23 0:25 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"


def test_the_load_of_a_limited_group_is_its_own_use(tree, monkeypatch):
    files = {
        "proc/self/cgroup": "0::/device\n",
        "proc/self/mountinfo": MOUNTED,
        "sys/fs/cgroup/device/cpu.max": "4000 10000\n",
        "sys/fs/cgroup/device/cpu.stat": "usage_usec 1000000\n",
    }
    now = [50.0]
    monkeypatch.setattr("services.monitor.load.time", SimpleNamespace(monotonic=lambda: now[0]))
    meter = LoadMeter(root=tree(files))
    now[0] += 2.0
    tree({"sys/fs/cgroup/device/cpu.stat": "usage_usec 1600000\n"})
    assert meter.read() == pytest.approx(0.75)
    assert meter.read() == 0.0


def test_where_nobody_counts_for_the_group_its_processes_are_added_up(tree, monkeypatch):
    def stat(ticks: int) -> str:
        return f"71 (a worker) with) odd name) S 1 71 71 0 -1 4194304 0 0 0 0 {ticks} {ticks} 0 0 20 0 1 0 5 9 9\n"

    tick = os.sysconf("SC_CLK_TCK")
    files = {
        "proc/self/cgroup": "2:cpu:/device\n",
        "proc/self/mountinfo": "29 23 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n",
        "sys/fs/cgroup/cpu/device/cpu.cfs_quota_us": "5000\n",
        "sys/fs/cgroup/cpu/device/cpu.cfs_period_us": "10000\n",
        "sys/fs/cgroup/cpu/device/cgroup.procs": "71\n999999\n",
        "proc/71/stat": stat(10 * tick),
    }
    now = [50.0]
    monkeypatch.setattr("services.monitor.load.time", SimpleNamespace(monotonic=lambda: now[0]))
    meter = LoadMeter(root=tree(files))
    now[0] += 4.0
    tree({"proc/71/stat": stat(10 * tick + tick // 2)})
    assert meter.read() == pytest.approx(0.5)


def test_the_real_machines_load_is_a_share():
    assert 0.0 <= LoadMeter().read() <= 1.0


PI_ZONE = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "48312\n"}
NANO_ZONES = {
    f"sys/class/thermal/thermal_zone{number}/{file}": text
    for number, (kind, temperature) in enumerate(
        [("AO-therm", "42500"), ("CPU-therm", "37000"), ("GPU-therm", "36500"), ("PMIC-Die", "100000")]
    )
    for file, text in (("type", kind + "\n"), ("temp", temperature + "\n"))
}


def nothing() -> dict[str, list[object]]:
    return {}


def sensor(label: str, current: float) -> SimpleNamespace:
    return SimpleNamespace(label=label, current=current)


@pytest.mark.parametrize(("zones", "celsius"), [(PI_ZONE, 48.312), (NANO_ZONES, 37.0), ({}, None)])
def test_thermal_zones_are_read_where_there_are_no_sensors(tree, zones, celsius):
    assert Thermometer(root=tree(zones), sensors=nothing).read() == celsius


def test_psutil_is_asked_where_no_zone_is_the_processors(tree):
    amd = {"nvme": [sensor("Composite", 61.0)], "k10temp": [sensor("Tctl", 54.2), sensor("Tccd1", 51.0)]}
    assert Thermometer(root=tree({}), sensors=lambda: amd).read() == 54.2


def test_a_zone_that_vanishes_leaves_no_temperature(tree):
    root = tree(PI_ZONE)
    thermometer = Thermometer(root=root, sensors=nothing)
    (root / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert thermometer.read() is None


def test_sensors_that_are_not_connected_are_passed_over():
    readings = [Reading("acpitz", 27.8), Reading("cpu 1", 0.0), Reading("cpu 2", -127.0), Reading("cpu 3", 255.0)]
    assert pick(readings) == 27.8
    assert pick([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("throttled=0x0\n", Throttling()),
        (
            "throttled=0x50005\n",
            Throttling(under_voltage=True, throttled=True, since_boot=("under_voltage", "throttled")),
        ),
        ("80008\n", Throttling(soft_temperature_limit=True, since_boot=("soft_temperature_limit",))),
        ("throttled=0x60002", Throttling(frequency_capped=True, since_boot=("frequency_capped", "throttled"))),
        ('error=1 error_msg="Command not registered"', None),
        ("", None),
    ],
)
def test_throttling_flags_read(text, expected):
    assert parse_throttled(text) == expected


async def test_a_pis_flags_come_from_sysfs_without_starting_a_process(tree, commands):
    run = commands()
    root = tree({"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"})
    assert (await ThrottlingReader(root=root, run=run).read()).since_boot == ("under_voltage", "throttled")
    assert run.asked == []


async def test_vcgencmd_is_asked_where_sysfs_has_nothing_and_not_at_every_message(tmp_path, commands):
    run = commands({"vcgencmd get_throttled": "throttled=0x4\n"})
    reader = ThrottlingReader(root=tmp_path, run=run)
    assert (await reader.read()).throttled
    assert (await reader.read()).throttled
    assert run.asked == ["vcgencmd get_throttled"]


async def test_what_is_no_pi_is_asked_once_and_has_no_flags(tmp_path, commands):
    run = commands()
    reader = ThrottlingReader(root=tmp_path, run=run)
    reader_asked_again = [await reader.read() for _ in range(3)]
    assert reader_asked_again == [None, None, None]
    assert len(run.asked) == 1
