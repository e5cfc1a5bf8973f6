"""`stageline top` in a narrow window leaves columns out and cuts nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from schemas.stages import HeldStage, StagesHeld
from schemas.topics import DEVICE_STAGES
from stageline.top_view import Picture, render

DEVICES = ("kitchen-raspberry-pi4", "jetson-xavier")


def shown(width: int) -> str:
    picture = Picture()
    for device in DEVICES:
        stage = HeldStage(
            deployment="efficientnet-lite0", generation=12, stage="r0s1", model="efficientnet-lite0",
            card_sha="0" * 64, first=3, last=17, state="ready",
        )  # fmt: skip
        held = StagesHeld(device=device, boot_id="b1", online=True, stages=(stage,))
        picture = picture.with_message(DEVICE_STAGES, {"device": device}, held, retained=True, now_s=0.0)
    console = Console(file=io.StringIO(), width=width)
    console.print(render(picture, 0.0, width=width, note="Ctrl-C leaves"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_are_whole_and_nothing_is_cut(width: int) -> None:
    text = shown(width)
    assert "…" not in text
    for name in (*DEVICES, "efficientnet-lite0", "ready", "device", "state"):
        assert name in text
    assert "Ctrl-C leaves" in text


def test_a_wide_window_shows_every_column() -> None:
    assert all(heading in shown(160) for heading in ("up/down Mbit/s", "in/out kB", "codec ms"))
