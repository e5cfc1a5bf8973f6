"""`deploy` and `undeploy`: what comes of a wish, and what the planner says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from broker.embedded import EmbeddedBroker
from schemas.topics import (
    MODEL_CARD,
)
from stageline import deploying, draining
from stageline.cli import app

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import Background, House

runner = CliRunner()


def test_deploy_waits_until_it_is_served_and_shows_the_plan_and_the_reason(house: House) -> None:
    result = house.invoke("deploy", "doubler", "--name", "pictures", "-o", "throughput", "--latency-bound-ms", 50)
    assert result.exit_code == 0, result.output
    for words in ("r0: pi4[0:1)", "Not split: the model is one block.", "Considered", "Decided by"):
        assert words in result.stdout
    assert "infer --deployment pictures PICTURE" in result.stdout
    document = house.json("deploy", "doubler", "--name", "pictures", "--pin", "pi4=0:1", "--memory-limit", "pi4=20.5")
    assert document["routes"] == ["pi4[0:1)"]
    assert document["decision"]["state"] == "serving"


def test_deploy_suggests_arrays_for_a_model_that_takes_no_pictures(house: House, background: Background) -> None:
    house.card = house.card.model_copy(update={"preprocess": None})
    background.run(house.line.bus.publish(MODEL_CARD, house.card, model="doubler"))
    assert "infer --deployment pictures FILE.npy" in house.invoke("deploy", "doubler", "--name", "pictures").stdout


def test_deploy_ends_with_1_and_the_planners_words_when_there_is_no_plan(house: House) -> None:
    result = house.invoke("deploy", "giant")
    assert result.exit_code == 1
    assert "pi4 lacks 400 MB of memory" in result.stderr
    assert house.json("deploy", "giant", code=1)["error"] == "pi4 lacks 400 MB of memory"


def test_a_refused_change_leaves_what_serves_and_every_command_says_so(served: House, background: Background) -> None:
    said = "the change was refused: pi4 lacks 400 MB of memory; generation 1 goes on serving"
    result = served.invoke("deploy", "giant", "--name", "pictures")
    assert result.exit_code == 1
    assert said in result.stderr
    assert "not served" not in result.stderr
    document = served.json("deploy", "giant", "--name", "pictures", code=1)
    assert (document["error"], document["serving_generation"], document["taken_back"]) == (said, 1, True)
    assert served.invoke("deploy", "giant", "--name", "pictures", "--no-wait").exit_code == 0
    background.run(served.decided("pictures", "failed"))
    shown = served.invoke("plan", "pictures")
    assert shown.exit_code == 0
    assert said in " ".join(shown.stdout.split())
    assert "generation 1, serving" in shown.stdout
    assert "no plan" not in shown.stdout
    checks = {one["name"]: one for one in served.json("doctor")["checks"]}
    assert checks["deployment pictures"]["detail"] == said


def test_a_plan_that_lost_its_device_does_not_go_on_serving(served: House, background: Background) -> None:
    background.run(served.line.die("pi4"))
    assert served.json("deploy", "giant", "--name", "pictures", code=1)["error"] == "pi4 lacks 400 MB of memory"
    assert "no plan." in served.invoke("plan", "pictures").stdout


def test_deploy_of_an_unknown_model_lists_what_there_is(house: House) -> None:
    result = house.invoke("deploy", "mobilnet")
    assert result.exit_code == 2
    assert "doubler, giant" in result.stderr


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--pin", "pi4"], "cam=0:3"),
        (["--pin", "pi4=3:3"], "names no block"),
        (["--memory-limit", "pi4=lots"], "pi4=200"),
        (["--memory-limit", "a/b=5"], "cannot name a device"),
        (["--objective", "speed"], "latency"),
        (["--codec", "u2"], "u8"),
        (["--policy", "magic"], "there are exact, "),
        (["--latency-bound-ms", "50"], "--objective throughput"),
        (["--name", "a b"], "a b"),
        (["--threshold", "exit1"], "exit1=0.8"),
        (["--threshold", "exit1=0.8"], "doubler has no exits: leave out thresholds"),
        (["--close-exit", "exit1"], "doubler has no exits"),
        (["--accuracy-min", "0.9"], "doubler has no exits"),
        (["--threshold", "exit1=0.8", "--accuracy-min", "0.9"], "--threshold and --accuracy-min: thresholds"),
        (["--threshold", "exit1=0.8", "--close-exit", "exit1"], "--threshold exit1=... and --close-exit exit1: "),
    ],
)
def test_options_that_make_no_sense_are_exit_code_2(house: House, option: list[str], says: str) -> None:
    result = house.invoke("deploy", "doubler", *option)
    assert result.exit_code == 2
    assert says in result.stderr


def test_without_a_planner_deploy_says_how_to_start_one(
    background: Background, broker: EmbeddedBroker, root: str
) -> None:
    result = runner.invoke(app, ["deploy", "doubler", "--broker", broker.url, "--root", root])
    assert result.exit_code == 2
    assert "stageline hub" in result.stderr


def test_a_planner_that_hangs_is_noticed(house: House, background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    background.run(house.freeze())
    monkeypatch.setitem(deploying.deploy.__kwdefaults__, "silent_s", 0.3)
    result = house.invoke("deploy", "doubler")
    assert result.exit_code == 2, result.output
    assert "the planner does not answer" in result.stderr
    checks = {one["name"]: one for one in house.json("doctor", code=1)["checks"]}
    assert checks["planner"]["status"] == "FAIL"
    assert "does not answer" in checks["planner"]["detail"]


def test_a_planner_that_hangs_is_told_by_every_command_that_needs_it(
    served: House, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    background.run(served.freeze())
    monkeypatch.setitem(deploying.deploy.__kwdefaults__, "silent_s", 0.3)
    monkeypatch.setitem(draining.drain.__kwdefaults__, "silent_s", 0.3)
    for arguments in (["drain", "pi4"], ["exclude", "pictures", "nano"], ["deploy", "doubler"]):
        result = served.invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert "the planner does not answer" in result.stderr
    assert "moves the work of pi4 away" in served.invoke("drain", "pi4").stderr


@pytest.mark.parametrize("command", [("deploy", "doubler", "--name", "pictures"), ("plan", "doubler", "--dry-run")])
def test_a_wish_about_a_device_nobody_has_heard_of_is_warned_of(house: House, command: tuple[str, ...]) -> None:
    result = house.invoke(*command, "--exclude", "typo", "--memory-limit", "tipo=5", "--memory-limit", "pi4=500")
    assert result.exit_code == 0, result.output
    assert "--exclude typo: nobody has heard of this device (devices there are: nano, pi4)" in result.stderr
    assert "--memory-limit tipo" in result.stderr
    assert "limit pi4" not in result.stderr


def test_undeploy_removes_and_says_what_there_is_when_there_is_no_such(served: House) -> None:
    assert served.invoke("undeploy", "nothing").exit_code == 2
    assert served.json("undeploy", "pictures") == {"deployment": "pictures", "removed": True}
