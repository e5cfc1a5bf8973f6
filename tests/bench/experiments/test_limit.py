import pytest

from bench.experiments.limit import bound_rps
from stageline.emulation.fleet_file import FleetFile


def test_the_bound_adds_up_every_device_also_those_with_the_same_quota():
    fleet = FleetFile.model_validate(
        {
            "name": "h+h+l",
            "scale": 0.5,
            "device": [{"name": "h1", "cores": 1.0}, {"name": "h2", "cores": 1.0}, {"name": "l", "cores": 0.4}],
        }
    )
    assert bound_rps(fleet, {0.5: 50.0, 0.2: 19.0}) == 119.0
    with pytest.raises(KeyError):
        bound_rps(fleet, {0.5: 50.0})
