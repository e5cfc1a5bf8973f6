"""Tables in a narrow window break no name and no number: columns that have no room come below."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from schemas.deployment import Alternative, Decision
from schemas.frame_header import StageTrace
from schemas.plan import Plan, Prediction, Route, Stage, StagePrediction
from stageline.commands.conduct import Report
from stageline.commands.submit import _show_status
from stageline.inputs import FileContent
from stageline.journal.records import Handover
from stageline.journal.store import Journal
from stageline.plan_tables import show_decision
from stageline.receipts import Receipt
from stageline.tables import new_table

DEVICES = ("kitchen-raspberry-pi4", "jetson-xavier")
WIDTHS = pytest.mark.parametrize("width", [80, 100, 160])


def printed(width: int, *what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for one in what:
        console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def fits(text: str, width: int) -> bool:
    return "…" not in text and max(map(len, text.splitlines())) <= width


def wide() -> Table:
    table = new_table("Title", "name", *(f">figure {number}" for number in range(9)), "~remark")
    table.add_row("a", *(f"{number}.000" for number in range(9)), "one [bold]quick[/bold] brown fox " * 3)
    table.add_row("b", *["-"] * 9, "")
    return table


@WIDTHS
def test_every_heading_and_cell_is_there_whole(width: int) -> None:
    text = printed(width, wide())
    assert fits(text, width)
    assert all(f"figure {number}" in text and f"{number}.000" in text for number in range(9))
    assert text.count("Title") == 1
    assert text.split().count("fox") == 3


def test_a_row_is_named_again_in_each_part() -> None:
    lines = printed(80, wide()).splitlines()
    headings = [line for line in lines if "figure" in line or "remark" in line]
    assert len(headings) > 1
    assert all(line.split()[0] == "name" for line in headings)
    assert sum(line.split()[:1] == ["b"] for line in lines) == len(headings)


def test_what_fits_is_one_table() -> None:
    assert sum("name" in line for line in printed(200, wide()).splitlines()) == 1


def test_text_is_folded_between_words_before_columns_go_below() -> None:
    table = new_table(None, "name", "~why")
    table.add_row("a", "because of this and that and the other thing " * 3)
    text = printed(40, table)
    assert fits(text, 40)
    assert sum("name" in line for line in text.splitlines()) == 1
    assert text.split().count("because") == 3


def test_one_word_that_is_longer_than_the_window_is_folded_not_cut() -> None:
    table = new_table(None, "name", "file")
    table.add_row("a", "x" * 100)
    text = printed(40, table)
    assert fits(text, 40)
    assert text.count("x") == 100


@WIDTHS
def test_a_plan_with_long_names_is_whole(width: int) -> None:
    times = StagePrediction(down_ms=123.4, compute_ms=1234.5, up_ms=123.4)
    stages = (
        Stage(device=DEVICES[0], first=0, last=17, codec="u8+zstd"),
        Stage(device=DEVICES[1], first=17, last=99),
    )
    predicted = Prediction(latency_ms=1234.5, throughput_rps=12.3, energy_j=1.2)
    plan = Plan(
        deployment="efficientnet-lite0", generation=12, model="efficientnet-lite0", card_sha="0" * 64,
        objective="latency", policy="exact", predicted=predicted,
        routes=(Route(stages=stages, stage_predictions=(times, times)),),
    )  # fmt: skip
    best = Alternative(
        label="best single device", plan=f"r0: {DEVICES[0]}[0:99)", feasible=True, predicted=predicted,
        reason="slower than the chosen plan: it computes everything on one device",
    )  # fmt: skip
    decision = Decision(
        deployment="efficientnet-lite0", generation=12, requested=0.0, state="serving", alternatives=(best,),
        explanation="Split: two devices are faster than one.",
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_decision(console, decision, plan)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert fits(text, width)
    for words in (*DEVICES, "[0:17)", "weights MB", "compute ms", "u8+zstd", "window", "1234.5", "computes"):
        assert words in text


@WIDTHS
def test_a_receipt_with_long_names_is_whole(width: int) -> None:
    traces = tuple(
        StageTrace(
            device=device, first=0, last=17, wait_ms=123.4, compute_ms=1234.5, codec_ms=12.3, bytes_in=1_234_567,
            bytes_out=1_234_567, energy_j=0.1234, energy_method="modelled", energy_source="table of boards",
        )
        for device in DEVICES
    )  # fmt: skip
    receipt = Receipt(
        request="q", deployment="d", generation=1, route="r0: a[0:1)", attempts=1, latency_ms=61.8, held_ms=29.0,
        stages=traces,
    )  # fmt: skip
    text = printed(width, receipt.table())
    assert fits(text, width)
    for words in ("wait ms", "compute ms", "in kB", "out kB", "J modelled", f"{DEVICES[0]}[0:17)", "1234.6"):
        assert words in text


@WIDTHS
def test_a_journal_with_long_names_is_whole(width: int, tmp_path: Path) -> None:
    content = FileContent("kitchen-camera-0000000001.png", b"0" * 1000)
    name = "efficientnet-lite0-for-the-kitchen"
    report = Report(None)
    report.out = Console(file=io.StringIO(), width=width, highlight=False)
    with Journal(tmp_path / "journal") as journal:
        journal.hand_over([Handover("r1", name, content, time.time() + 60)])
        _show_status(report, journal)
    assert isinstance(report.out.file, io.StringIO)
    text = report.out.file.getvalue()
    assert fits(text, width)
    for words in (name, "open", "aside", "arriving", "answered", "failed", "waiting MB", "oldest open"):
        assert words in text
