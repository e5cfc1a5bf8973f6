"""What a submitter remembers of devices: those that are there, and those whose absence matters."""

from __future__ import annotations

from made_up_plans import made_up_plan

from schemas.stages import StagesHeld
from stageline.plan_watch import after_report

PLAN = made_up_plan("ant[0:4)", deployment="d")


def report(device: str, *, online: bool = True) -> StagesHeld:
    return StagesHeld(device=device, boot_id="b", online=online)


def test_a_device_that_leaves_is_forgotten_unless_the_plan_names_it() -> None:
    held = {name: report(name) for name in ("ant", "bee", "cat")}
    for name in ("ant", "bee"):
        held = after_report(held, name, report(name, online=False), [PLAN])
    assert held == {"ant": report("ant", online=False), "cat": report("cat")}


def test_who_is_offline_before_any_plan_is_known_is_remembered_until_one_is() -> None:
    held = after_report({}, "ant", report("ant", online=False), [])
    held = after_report(held, "bee", report("bee", online=False), [])
    assert set(held) == {"ant", "bee"}
    assert set(after_report(held, "cat", report("cat"), [PLAN])) == {"ant", "cat"}


def test_a_report_that_was_removed_is_forgotten() -> None:
    assert after_report({"ant": report("ant"), "bee": report("bee")}, "ant", None, [PLAN]) == {"bee": report("bee")}
