"""`plan`, its figures on paper, and `plan compare`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from stageline.cli import app

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import House

runner = CliRunner()


def test_plan_shows_one_deployment_or_all_of_them(served: House) -> None:
    shown = served.json("plan", "pictures")
    assert shown["plan"]["generation"] == 1
    assert [one["deployment"] for one in served.json("plan")] == ["pictures"]
    assert "Why: Not split" in served.invoke("plan", "pictures").stdout
    assert served.invoke("plan").stdout == served.invoke("plan", "pictures").stdout
    assert served.invoke("deploy", "giant").exit_code == 1
    several = served.invoke("plan").stdout
    assert "Why:" not in several
    assert "giant" in several
    unknown = served.invoke("plan", "nothing")
    assert unknown.exit_code == 2
    assert "there are giant, pictures" in unknown.stderr


def test_plan_on_paper_deploys_nothing(house: House) -> None:
    document = house.json("plan", "doubler", "--dry-run", "--policy", "best-single")
    assert document["dry_run"] is True
    assert document["routes"] == ["pi4[0:1)"]
    assert "nano (its worker is offline" in document["decision"]["explanation"]
    assert "nothing was deployed" in house.invoke("plan", "doubler", "--dry-run").stdout
    assert house.json("plan") == []


def test_plan_on_paper_says_why_there_is_none(house: House) -> None:
    nobody = house.json("plan", "doubler", "--dry-run", "--exclude", "pi4", code=1)["error"]
    assert "no device can serve doubler" in nobody
    assert "pi4 (excluded)" in nobody
    assert house.invoke("plan", "doubler", "--dry-run", "--memory-limit", "pi4=0.000001").exit_code == 1
    assert house.invoke("plan", "unknown", "--dry-run").exit_code == 2
    assert house.invoke("plan", "--dry-run").exit_code == 2
    assert house.invoke("plan", "doubler", "--dry-run", "--policy", "magic").exit_code == 2


def test_plan_on_paper_of_a_model_nobody_measured_says_how_to_have_it_measured(house: House) -> None:
    error = house.json("plan", "giant", "--dry-run", code=1)["error"]
    assert "pi4 has not measured giant yet" in error
    assert "`stageline deploy giant`" in error
    assert "stageline join" not in error


def test_plan_compare_has_every_policy_plan_for_the_fleet_that_joined(house: House) -> None:
    document = house.json("plan", "compare", "doubler")
    by_name = {one["policy"]: one for one in document["policies"]}
    assert by_name["best-single"]["plan"] == "r0: pi4[0:1)"
    assert by_name["best-single"]["latency_ms"] > 5
    assert "exact" in document["best"]["latency_ms"]
    shown = house.invoke("plan", "compare", "doubler", "--policy", "exact", "--policy", "best-single")
    assert "doubler on one device, planned for latency" in shown.stdout
    assert "replicas" not in shown.stdout
    assert "nano (its worker is offline" in shown.stderr
    assert house.json("plan") == []


def test_plan_compare_ends_with_1_without_any_plan_and_with_2_where_something_is_to_be_mended(house: House) -> None:
    none = house.json("plan", "compare", "doubler", "--memory-limit", "pi4=0.000001", code=1)
    assert all(one["reason"] for one in none["policies"])
    assert "no device" in house.json("plan", "compare", "doubler", "--exclude", "pi4", code=1)["error"]
    assert "has not measured giant" in house.json("plan", "compare", "giant", code=1)["error"]
    for wrong in (["unknown"], ["doubler", "--policy", "magic"], ["doubler", "--fleet", "/nowhere.toml"]):
        result = house.invoke("plan", "compare", *wrong)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1


def test_a_deployment_may_still_be_called_compare(house: House) -> None:
    assert house.invoke("deploy", "doubler", "--name", "compare").exit_code == 0
    result = runner.invoke(app, ["plan", "--broker", house.url, "--root", house.root, "--", "compare"])
    assert result.exit_code == 0, result.output
    assert "compare: doubler" in result.stdout


def test_plan_policies_lists_every_policy_with_its_source() -> None:
    listed = json.loads(runner.invoke(app, ["plan", "policies", "--json", "-"]).stdout)
    assert {"exact", "best-single", "even-split"} <= {one["policy"] for one in listed}
    assert all(one["citation"] for one in listed)
