from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from bench.context import Context
from bench.experiments import limit
from bench.experiments.limit import bound_rps
from models.library import Library
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


def test_a_model_that_fails_costs_no_other_its_row_and_the_next_gets_new_devices(tmp_path, monkeypatch):
    beds = []

    @contextmanager
    def testbed(fleet, **_options):
        beds.append(fleet.name)
        yield SimpleNamespace(fleet=fleet)

    async def measured(_context, bed, model, _rounds, _amount):
        if model == "resnet18":
            raise TimeoutError("no plan")
        return {"fleet": bed.fleet.name, "model": model, "ratio": 0.9}

    monkeypatch.setattr(limit, "testbed", testbed)
    monkeypatch.setattr(limit, "_row", measured)
    monkeypatch.setattr(Context, "card", lambda _self, model: SimpleNamespace(name=model))
    rows = limit.run(Context(quick=False, folder=tmp_path, library=Library(tmp_path / "library")))["limit"]
    assert len(rows) == len(limit.FULL.fleets) * len(limit.FULL.models)
    assert {row["failed"] for row in rows if row["ratio"] is None} == {"TimeoutError: no plan"}
    assert beds.count("h+m+l") == 2
