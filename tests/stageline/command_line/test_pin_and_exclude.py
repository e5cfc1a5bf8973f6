"""`pin` and `exclude`: changes of what is served already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.deployment import Deployment, Pin
from schemas.topics import (
    DEPLOYMENT,
)

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import Background, House


def test_exits_of_a_model_that_has_none_cannot_be_set(served: House) -> None:
    result = served.invoke("exits", "set", "pictures", "exit1=0.5")
    assert result.exit_code == 2, result.output
    assert "doubler has no exits: leave out thresholds" in " ".join(result.stderr.split())
    unknown = served.invoke("exits", "set", "pictures", "--usual", "exit9")
    assert (unknown.exit_code, "doubler has no exit 'exit9': it has none" in unknown.stderr) == (2, True)
    assert "say what to change" in served.invoke("exits", "set", "pictures").stderr
    assert "exit1=0.8" in served.invoke("exits", "set", "pictures", "exit1=2").stderr


def test_pins_and_exclusions_change_a_running_deployment_and_leave_the_rest_of_the_wish(
    house: House, background: Background
) -> None:
    house.json("deploy", "doubler", "--name", "cats", "-o", "throughput", "--weight", "3")

    def wish() -> Deployment:
        return background.run(house.line.bus.snapshot(DEPLOYMENT, deployment="cats"))[0].message

    first = wish()
    assert house.json("exclude", "cats", "nano")["changed"] is True
    assert house.json("pin", "cats", "pi4=0:1")["decision"]["state"] == "serving"
    second = wish()
    assert second.requested > first.requested
    assert second == first.model_copy(
        update={"requested": second.requested, "exclude": ("nano",), "pins": (Pin(device="pi4", first=0, last=1),)}
    )
    assert house.json("exclude", "cats", "nano") == {"deployment": "cats", "changed": False}
    assert wish() == second
    house.json("exclude", "cats", "nano", "--undo")
    house.json("pin", "cats", "pi4", "--undo")
    assert wish() == first.model_copy(update={"requested": wish().requested})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["exclude", "dogs", "pi4"], "no deployment 'dogs': there are pictures"),
        (["exclude", "pictures", "pi4", "--undo"], "does not exclude 'pi4': it excludes no device"),
        (["exclude", "pictures", "a/b"], "cannot name a device"),
        (["exclude", "pictures", "pi5"], "nobody has heard of a device 'pi5': devices there are: nano, pi4"),
        (["pin", "pictures", "pi5=0:1"], "nobody has heard of a device 'pi5'"),
        (["pin", "pictures", "pi4=0:99"], "goes beyond the model's 1 blocks (doubler has blocks [0:1))"),
        (["pin", "pictures", "pi4=0:1", "nano=0:1"], "block 0 is pinned on both pi4 and nano: remove one pin"),
        (["deploy", "doubler", "--pin", "pi4=0:99"], "goes beyond the model's 1 blocks"),
        (["pin", "pictures", "pi4"], "pin pi4: write DEVICE=FIRST:LAST"),
        (["pin", "pictures", "pi4=0:1", "--undo"], "has no pin pi4=0:1: it has none"),
    ],
)
def test_a_change_that_cannot_be_made_is_said_and_exit_code_2(
    served: House, background: Background, arguments: list[str], says: str
) -> None:
    before = background.run(served.line.bus.snapshot(DEPLOYMENT))
    result = served.invoke(*arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert background.run(served.line.bus.snapshot(DEPLOYMENT)) == before


def test_a_change_that_is_refused_is_taken_back_so_that_it_stands_in_nobodys_way(
    served: House, background: Background
) -> None:
    def wish() -> Deployment:
        return background.run(served.line.bus.snapshot(DEPLOYMENT, deployment="pictures"))[0].message

    before = wish()
    refused = served.json("exclude", "pictures", "pi4", code=1)
    assert "the change was refused: no device left; generation 1 goes on serving" in refused["error"]
    assert (refused["taken_back"], refused["changed"]) == (True, False)
    assert wish() == before
    background.run(served.decided("pictures", "serving"))
    assert served.json("exclude", "pictures", "nano")["changed"] is True
    assert served.json("deploy", "giant", "--name", "pictures", code=1)["taken_back"] is True
    assert (wish().model, wish().exclude) == ("doubler", ("nano",))


def test_asked_for_already_is_no_answer_while_it_is_not_served(served: House, background: Background) -> None:
    bus = served.line.bus
    [kept] = background.run(bus.snapshot(DEPLOYMENT, deployment="pictures"))
    background.run(
        bus.publish(DEPLOYMENT, kept.message.model_copy(update={"exclude": ("pi4",)}), deployment="pictures")
    )
    background.run(served.decided("pictures", "failed"))
    again = served.json("exclude", "pictures", "pi4", code=1)
    assert "no device left" in again["error"]
    assert (again["taken_back"], again["changed"]) == (False, False)
