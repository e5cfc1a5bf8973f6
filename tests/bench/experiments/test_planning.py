"""What the planning experiment reports, on two small fleets."""

import pytest

from bench.context import Context
from bench.experiments import planning
from models.library import Library
from models.runtime import stage_memory_bytes
from stageline.benches.planner import made_up_card


def test_every_fleet_is_planned_with_and_without_room_and_its_gap_is_true(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "SIZES", (4, 12))
    rows = planning.run(Context(quick=True, folder=tmp_path, library=Library(tmp_path / "library")))["planning"]
    assert {(row["devices"], row["policy"]) for row in rows} == {(4, "exact"), (4, "large-fleet"), (12, "large-fleet")}
    for row in rows:
        assert row["planning_ms"] > 0
        if row["objective"] == "throughput":
            assert row["throughput_rps"] == pytest.approx((1 - row["gap"]) * row["bound_rps"])
            assert row["throughput_rps"] <= row["proved_bound_rps"] * (1 + 1e-9)
        if row["memory"] == "tight":
            assert row["longest_route"] > 1
    assert len((tmp_path / "raw" / "planning.jsonl").read_text().splitlines()) == len(rows)


def test_devices_of_a_tight_fleet_are_all_different_and_cannot_hold_the_model():
    card = made_up_card(50)
    whole = stage_memory_bytes(card, 0, len(card.blocks))
    budgets = [device.memory_budget_bytes for device in planning.unequal_fleet(card, 30, "tight")]
    assert max(budgets) < whole
    assert len(set(budgets)) == 30
    assert min(device.memory_budget_bytes for device in planning.unequal_fleet(card, 30, "roomy")) > whole
