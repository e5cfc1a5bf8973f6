"""Power sensors against what real ones say: INA3221, RAPL, the Pi 5's power chip, smart plugs."""

from __future__ import annotations

import pytest

from services.monitor.power.ina3221 import Ina3221
from services.monitor.power.plug import STALE_AFTER_S, Plug, PlugPayloadError, parse_plug
from services.monitor.power.pmic import Pmic, parse_pmic
from services.monitor.power.rapl import Rapl, energy_between

ORIN_NANO = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/"
ORIN_NANO_FILES = {
    ORIN_NANO + "name": "ina3221\n",
    ORIN_NANO + "in1_label": "VDD_IN\n",
    ORIN_NANO + "in1_input": "4960\n",
    ORIN_NANO + "curr1_input": "1112\n",
    ORIN_NANO + "in2_label": "VDD_CPU_GPU_CV\n",
    ORIN_NANO + "in2_input": "4952\n",
    ORIN_NANO + "curr2_input": "192\n",
    ORIN_NANO + "in3_label": "VDD_SOC\n",
    ORIN_NANO + "in3_input": "4952\n",
    ORIN_NANO + "curr3_input": "288\n",
    ORIN_NANO + "in7_label": "sum of shunt voltages\n",
    ORIN_NANO + "in7_input": "8\n",
}

AGX_ORIN = "sys/bus/i2c/drivers/ina3221/"
AGX_ORIN_FILES = {
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in1_label": "VDD_GPU_SOC\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in1_input": "19000\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/curr1_input": "200\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in2_label": "VDD_CPU_CV\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in2_input": "19000\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/curr2_input": "40\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in3_label": "VIN_SYS_5V0\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/in3_input": "5000\n",
    f"{AGX_ORIN}1-0040/hwmon/hwmon3/curr3_input": "800\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/in1_label": "NC\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/in1_input": "0\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/curr1_input": "0\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/in2_label": "VDDQ_VDD2_1V8AO\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/in2_input": "4992\n",
    f"{AGX_ORIN}1-0041/hwmon/hwmon4/curr2_input": "96\n",
}

NANO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"
NANO_FILES = {
    NANO + "rail_name_0": "POM_5V_IN\n",
    NANO + "in_power0_input": "2345\n",
    NANO + "rail_name_1": "POM_5V_GPU\n",
    NANO + "in_power1_input": "41\n",
    NANO + "rail_name_2": "POM_5V_CPU\n",
    NANO + "in_power2_input": "533\n",
}

OLD_HWMON = "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon2/"
OLD_HWMON_FILES = {OLD_HWMON + "power1_label": "VDD_IN\n", OLD_HWMON + "power1_input": "7300000\n"}


@pytest.mark.parametrize(
    ("recorded", "watts", "rails"),
    [
        (ORIN_NANO_FILES, 4.960 * 1.112, "VDD_IN"),
        (AGX_ORIN_FILES, 3.8 + 0.76 + 4.0, "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0"),
        (NANO_FILES, 2.345, "POM_5V_IN"),
        (OLD_HWMON_FILES, 7.3, "VDD_IN"),
    ],
)
async def test_a_jetson_tells_the_watts_of_the_whole_board(tree, recorded, watts, rails):
    sensor = Ina3221.find(root=tree(recorded))
    assert sensor is not None
    assert await sensor.watts() == pytest.approx(watts)
    assert sensor.source == f"INA3221 {rails}"


async def test_a_jetson_with_one_unreadable_rail_says_nothing_rather_than_too_little(tree):
    root = tree(AGX_ORIN_FILES)
    sensor = Ina3221.find(root=root)
    (root / AGX_ORIN / "1-0040/hwmon/hwmon3/curr2_input").unlink()
    assert await sensor.watts() is None


def test_a_machine_without_the_chip_has_no_such_sensor(tmp_path):
    assert Ina3221.find(root=tmp_path) is None


LAPTOP = "sys/class/powercap/"


def rapl_files(package_uj: int, dram_uj: int = 0) -> dict[str, str]:
    return {
        LAPTOP + "intel-rapl:0/name": "package-0\n",
        LAPTOP + "intel-rapl:0/energy_uj": f"{package_uj}\n",
        LAPTOP + "intel-rapl:0/max_energy_range_uj": "262143328850\n",
        LAPTOP + "intel-rapl:0:0/name": "core\n",
        LAPTOP + "intel-rapl:0:0/energy_uj": "1\n",
        LAPTOP + "intel-rapl:0:0/max_energy_range_uj": "262143328850\n",
        LAPTOP + "intel-rapl:0:2/name": "dram\n",
        LAPTOP + "intel-rapl:0:2/energy_uj": f"{dram_uj}\n",
        LAPTOP + "intel-rapl:0:2/max_energy_range_uj": "65712999613\n",
        LAPTOP + "intel-rapl-mmio:0/name": "package-0\n",
        LAPTOP + "intel-rapl-mmio:0/energy_uj": f"{package_uj}\n",
        LAPTOP + "intel-rapl-mmio:0/max_energy_range_uj": "262143328850\n",
    }


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_rapl_is_the_average_since_the_last_reading_of_package_and_memory(tree):
    clock = Clock()
    sensor = Rapl.find(root=tree(rapl_files(5_000_000)), clock=clock)
    clock.now += 2.0
    tree(rapl_files(5_000_000 + 30_000_000, 4_000_000))
    assert await sensor.watts() == pytest.approx(17.0)
    assert sensor.source == "RAPL package-0+dram (processor only)"


async def test_rapl_survives_its_counter_wrapping_round(tree):
    clock = Clock()
    sensor = Rapl.find(root=tree(rapl_files(262_143_000_000)), clock=clock)
    clock.now += 1.0
    tree(rapl_files(9_671_149))
    assert await sensor.watts() == pytest.approx(10.0)


async def test_rapl_read_twice_in_a_moment_gives_no_figure_made_of_jitter(tree):
    clock = Clock()
    sensor = Rapl.find(root=tree(rapl_files(0)), clock=clock)
    assert await sensor.watts() is None
    clock.now += 1.0
    tree(rapl_files(8_000_000))
    assert await sensor.watts() == pytest.approx(8.0)
    clock.now += 0.001
    assert await sensor.watts() == pytest.approx(8.0)


async def test_rapl_of_the_whole_platform_is_not_added_to_its_parts(tree):
    clock = Clock()
    psys = {
        LAPTOP + "intel-rapl:1/name": "psys\n",
        LAPTOP + "intel-rapl:1/energy_uj": "0\n",
        LAPTOP + "intel-rapl:1/max_energy_range_uj": "262143328850\n",
    }
    sensor = Rapl.find(root=tree(rapl_files(0) | psys), clock=clock)
    clock.now += 1.0
    tree({LAPTOP + "intel-rapl:1/energy_uj": "21000000\n", LAPTOP + "intel-rapl:0/energy_uj": "9000000\n"})
    assert await sensor.watts() == pytest.approx(21.0)


def test_rapl_counters_that_only_root_may_read_are_explained_and_not_used(tree, caplog):
    root = tree(rapl_files(0))
    (root / LAPTOP / "intel-rapl:0/energy_uj").unlink()
    with caplog.at_level("INFO"):
        assert Rapl.find(root=root) is None
    assert "chmod" in caplog.text


def test_energy_over_a_wrap_is_never_negative():
    assert energy_between(10, 30, 99) == 20
    assert energy_between(90, 10, 99) == 20


PI5_ADC = """\
   3V7_WL_SW_A current(0)=0.05000000A
   3V3_SYS_A current(1)=0.20000000A
   1V8_SYS_A current(2)=0.10000000A
   DDR_VDD2_A current(3)=0.03000000A
   VDD_CORE_A current(7)=1.50000000A
   HDMI_A current(22)=0.01196580A
   3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
   1V8_SYS_V volt(10)=1.80000000V
   DDR_VDD2_V volt(11)=1.10000000V
   VDD_CORE_V volt(15)=0.80000000V
   HDMI_V volt(23)=5.00000000V
   EXT5V_V volt(24)=5.12664000V
   BATT_V volt(25)=0.00000000V
"""


async def test_a_pi_5_sums_the_rails_that_tell_volts_and_amperes():
    assert parse_pmic(PI5_ADC) == pytest.approx(0.185 + 0.66 + 0.18 + 0.033 + 1.2 + 0.059829)


@pytest.mark.parametrize("text", ["", "error=1 error_msg='Command not registered'\n", "EXT5V_V volt(24)=5.1V\n"])
def test_a_pi_without_the_power_chip_has_no_watts(text):
    assert parse_pmic(text) is None


async def test_the_power_chip_is_asked_at_most_every_two_seconds(commands):
    clock = Clock()
    run = commands({"vcgencmd pmic_read_adc": PI5_ADC})
    sensor = Pmic(run=run, clock=clock)
    await sensor.watts()
    clock.now += 1.0
    assert await sensor.watts() is not None
    assert len(run.asked) == 1
    clock.now += 1.5
    await sensor.watts()
    assert len(run.asked) == 2


async def test_a_pi_4_has_no_power_chip_to_ask(commands):
    assert await Pmic.find(run=commands({"vcgencmd pmic_read_adc": "error=1 error_msg='x'"})) is None
    assert await Pmic.find(run=commands()) is None


TASMOTA = (
    b'{"Time":"2024-05-04T11:20:31","ENERGY":{"TotalStartTime":"2023-01-08T10:00:00","Total":31.205,"Yesterday":0.112,'
    b'"Today":0.041,"Period":0,"Power":5,"ApparentPower":12,"Factor":0.43,"Voltage":231,"Current":0.05}}'
)
ZIGBEE2MQTT = b'{"current":0.05,"energy":3.1,"linkquality":120,"power":6.4,"state":"ON","voltage":230}'


@pytest.mark.parametrize(
    ("payload", "watts"),
    [
        (TASMOTA, 5.0),
        (b'{"ENERGY":{"Power":[5,2]}}', 7.0),
        (ZIGBEE2MQTT, 6.4),
        (b"4.25", 4.25),
        (b'{"power":0}', 0.0),
    ],
)
def test_plugs_are_understood(payload, watts):
    assert parse_plug(payload) == pytest.approx(watts)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ON",
        b"[]",
        b"null",
        b"true",
        b'{"state":"ON"}',
        b'{"power":null}',
        b'{"power":"6"}',
        b'{"power":-3}',
        b'{"power":NaN}',
        b'{"power":1e999}',
        b'{"ENERGY":5}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_what_is_no_reading_is_refused(payload):
    with pytest.raises(PlugPayloadError):
        parse_plug(payload)


async def test_a_plug_that_has_not_spoken_or_is_silent_too_long_has_no_watts():
    clock = Clock()
    plug = Plug("tele/plug7/SENSOR", clock=clock)
    assert await plug.watts() is None
    plug.hear(TASMOTA)
    assert await plug.watts() == 5.0
    clock.now += STALE_AFTER_S
    assert await plug.watts() is None


async def test_a_bad_message_does_not_undo_a_good_one():
    plug = Plug("tele/plug7/SENSOR")
    plug.hear(TASMOTA)
    with pytest.raises(PlugPayloadError):
        plug.hear(b"nonsense")
    assert await plug.watts() == 5.0
