"""`stageline plan` and `stageline models` in a narrow window: words stay whole, long reasons get lines of their own."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from schemas.deployment import Decision
from schemas.model import ModelCard
from schemas.plan import Plan, Prediction, Route, Stage
from stageline.commands.conduct import Report
from stageline.commands.models import _table
from stageline.commands.plan import _show_all

WIDTHS = pytest.mark.parametrize("width", [80, 160])


def report_of(width: int) -> tuple[Report, io.StringIO]:
    report, file = Report(None), io.StringIO()
    report.out = Console(file=file, width=width, highlight=False)
    return report, file


def decision(name: str, **fields: Any) -> Decision:
    return Decision.model_validate({"deployment": name, "generation": 3, "requested": 0.0, **fields})


@WIDTHS
def test_a_deployment_without_a_plan_says_why_below_the_table(width: int) -> None:
    plan = Plan(
        deployment="efficientnet-lite0", generation=3, model="efficientnet-lite0", card_sha="0" * 64,
        objective="latency", policy="exact",
        predicted=Prediction(latency_ms=123.4, throughput_rps=12.3, energy_j=1.2),
        routes=(Route(stages=(Stage(device="kitchen-raspberry-pi4", first=0, last=17),)),),
    )  # fmt: skip
    reason = "no device can serve giant now: every one of them is left out, each for a reason. " * 3
    decisions = {
        "efficientnet-lite0": decision("efficientnet-lite0", state="serving"),
        "giant": decision("giant", state="failed", error=reason.strip()),
    }
    report, file = report_of(width)
    _show_all(report, decisions, {"efficientnet-lite0": plan})
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for words in ("deployment", "generation", "kitchen-raspberry-pi4[0:17)", "serving", "failed"):
        assert words in file.getvalue()
    [why] = [number for number, line in enumerate(lines) if line.startswith("giant: no device")]
    assert " ".join(" ".join(lines[why:]).split()) == f"giant: {reason.strip()}"


@WIDTHS
def test_models_are_listed_with_whole_words(width: int, make_card: Any) -> None:
    card: ModelCard = make_card()
    source = "torchvision.models.efficientnet_b0 weights EfficientNet_B0_Weights.IMAGENET1K_V1"
    report, file = report_of(width)
    report.out.print(_table([card.model_copy(update={"name": "efficientnet-lite0-quantised", "source": source})]))
    assert max(map(len, file.getvalue().splitlines())) <= width
    for word in (
        "efficientnet-lite0-quantised",
        "weights MB",
        "classes",
        str(card.inputs[0]).split()[-1],
        *source.split(),
    ):
        assert word in file.getvalue()
