import pytest

from bench.energy import NoPowerModelError, active_energy_j
from stageline.emulation.fleet_file import FleetFile


@pytest.fixture
def fleet():
    devices = [
        {"name": "strong", "cores": 1.0, "power": {"idle_w": 2.0, "busy_w": 6.0}},
        {"name": "weak", "cores": 0.5, "power": {"idle_w": 1.0, "busy_w": 3.0}},
    ]
    return FleetFile.model_validate({"name": "two", "scale": 0.5, "device": devices})


def test_a_device_is_charged_its_busy_power_for_the_time_it_is_busy(fleet):
    # 0.5 CPU seconds on half a core: busy for one second, at 6 W.
    assert active_energy_j(fleet, {"strong": 0.5}) == pytest.approx(6.0)
    assert active_energy_j(fleet, {"weak": 0.25, "submitter": 100.0}) == pytest.approx(3.0)


def test_a_process_with_all_cores_uses_all_devices_by_their_cores(fleet):
    together = active_energy_j(fleet, {"strong": 0.5, "weak": 0.25})
    assert active_energy_j(fleet, {"all cores": 0.75}) == pytest.approx(together)


def test_no_power_model_is_an_error_and_no_zero(fleet):
    bare = fleet.model_copy(update={"device": (fleet.devices[0].model_copy(update={"power": None}),)})
    with pytest.raises(NoPowerModelError, match="strong has no power model"):
        active_energy_j(bare, {"strong": 1.0})
