"""Every figure says whether it was measured or modelled, and by what; never a silent 0."""

from __future__ import annotations

import pytest

from services.capacity import Capacity
from services.monitor.machine import Kind, Machine
from services.monitor.power.meter import PowerMeter, choose_sensor
from services.monitor.power.model import TYPICAL, modelled_power, power_model
from services.monitor.power.plug import Plug

FOUR_CORES = Capacity(cores=4, capacity_cores=4.0, memory_bytes=1, memory_free_bytes=1)
ONE_OF_FOUR = Capacity(cores=4, capacity_cores=1.0, memory_bytes=1, memory_free_bytes=1)
RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
}
INA = {
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2345\n",
}
PMIC = {"vcgencmd pmic_read_adc": "VDD_CORE_A current(7)=2.0A\nVDD_CORE_V volt(15)=0.8V\n"}


class Fixed:
    source = "a meter"

    def __init__(self, watts: float | None) -> None:
        self.told = watts

    async def watts(self) -> float | None:
        return self.told


def model(size: Capacity = FOUR_CORES, kind: Kind = "pi-4"):
    return power_model(kind, size)


def test_the_model_is_idle_plus_busy_share_and_its_formula_is_the_source():
    power = modelled_power(model(), 0.5)
    assert power.method == "modelled"
    assert power.watts == pytest.approx((2.7 + 6.4) / 2)
    assert power.source == "2.7 W + 3.7 W * load (typical pi-4)"


def test_a_device_that_uses_a_quarter_of_the_cores_adds_a_quarter_of_the_busy_watts():
    part = model(ONE_OF_FOUR)
    assert part.idle_w == 2.7
    assert part.busy_w == pytest.approx(2.7 + 3.7 / 4)
    assert "1 of 4 cores" in part.source


def test_what_the_owner_measured_replaces_the_table():
    own = power_model("pi-4", ONE_OF_FOUR, idle_w=3.1, busy_w=5.9)
    assert (own.idle_w, own.busy_w) == (3.1, 5.9)
    assert own.source == "STAGELINE_IDLE_W, STAGELINE_BUSY_W"


@pytest.mark.parametrize("typical", TYPICAL.values())
def test_every_kind_draws_something_idle_and_more_when_busy(typical):
    assert 0 < typical.idle_w < typical.busy_w


async def test_a_sensor_is_measured():
    power = await PowerMeter(Fixed(4.2), lambda _: model()).read(1.0, FOUR_CORES)
    assert (power.watts, power.method, power.source) == (4.2, "measured", "a meter")


async def test_a_measured_zero_stays_measured():
    power = await PowerMeter(Fixed(0.0), lambda _: model()).read(1.0, FOUR_CORES)
    assert (power.watts, power.method) == (0.0, "measured")


async def test_a_silent_sensor_becomes_a_model_that_says_so(caplog):
    sensor = Fixed(None)
    meter = PowerMeter(sensor, lambda _: model())
    for _ in range(3):
        power = await meter.read(0.0, FOUR_CORES)
        assert power.method == "modelled"
        assert power.source.endswith("; a meter is silent")
    sensor.told = 3.3
    assert (await meter.read(0.0, FOUR_CORES)).method == "measured"
    assert [record.getMessage() for record in caplog.records] == [
        "the power sensor is silent",
        "the power sensor speaks again",
    ]


@pytest.mark.parametrize(
    ("recorded", "source"),
    [
        (("jetson-nano", INA | RAPL, {}), "INA3221 POM_5V_IN"),
        (("pi-5", {}, PMIC), "vcgencmd pmic_read_adc"),
        (("laptop", RAPL, {}), "RAPL package-0"),
    ],
)
async def test_the_sensor_that_sees_most_of_the_device_is_chosen(tree, commands, recorded, source):
    kind, files, answers = recorded
    sensor = await choose_sensor(Machine("m", kind), root=tree(files), run=commands(answers))
    assert sensor is not None
    assert sensor.source.startswith(source)


async def test_a_plug_sees_more_than_any_sensor(tree, commands):
    sensor = await choose_sensor(Machine("m", "laptop"), plug=Plug("z/plug"), root=tree(RAPL), run=commands())
    assert sensor.source == "smart plug, topic z/plug"


async def test_a_pi_4_has_none_and_is_modelled(tmp_path, commands):
    assert await choose_sensor(Machine("Raspberry Pi 4", "pi-4"), root=tmp_path, run=commands()) is None
    meter = PowerMeter(None, lambda _: model())
    assert meter.source == "modelled"
    assert (await meter.read(0.0, FOUR_CORES)).method == "modelled"
