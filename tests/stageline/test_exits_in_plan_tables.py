"""A plan with exits is shown with where requests may leave, and how many are expected to."""

from __future__ import annotations

import io

from made_up_plans import made_up_plan
from rich.console import Console

from schemas.deployment import Decision
from schemas.plan import ExitRule
from stageline.plan_tables import exits_text, show_decision

PLAN = made_up_plan(
    "pi4[0:4)",
    generation=3,
    exits=(
        ExitRule(name="exit1", block=0, threshold=0.8, share=0.4),
        ExitRule(name="exit2", block=2, threshold=0.95, share=0.25),
    ),
)


def test_open_exits_are_told_with_their_thresholds_and_expected_shares() -> None:
    said = "exit1 after block 0, from 0.8 on: 40%; exit2 after block 2, from 0.95 on: 25%; to the end: 35%"
    assert exits_text(PLAN) == said
    screen = io.StringIO()
    told = Decision(deployment="cats", generation=3, requested=1.0, state="serving")
    show_decision(Console(file=screen, width=200), told, PLAN)
    assert f"Exits: {said}" in screen.getvalue()
