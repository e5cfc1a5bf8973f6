"""`top`, `doctor` and `bench`: how things stand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.stages import StageTiming, Timing
from schemas.topics import (
    DEVICE_TIMING,
    MODEL_CARD,
)
from stageline.cli import app

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import Background, House

runner = CliRunner()


def test_top_prints_devices_stages_and_rates_once(served: House, background: Background) -> None:
    stage = StageTiming(
        deployment="pictures", generation=1, stage="r0s0", frames=30, wait_ms=1, compute_ms=5, codec_ms=1, bytes_in=500,
        bytes_out=50,
    )  # fmt: skip
    timing = Timing(device="pi4", boot_id="w1", period_s=2.0, queue_depth=3, stages=(stage,))

    async def keep_telling() -> None:
        while True:
            await served.line.bus.publish(DEVICE_TIMING, timing, device="pi4")
            await asyncio.sleep(0.05)

    telling = asyncio.run_coroutine_threadsafe(keep_telling(), background.loop)
    try:
        document = served.json("top", "--listen", 5)
        shown = served.invoke("top", "--once", "--listen", 5).stdout
    finally:
        telling.cancel()
    devices = {one["device"]: one for one in document["devices"]}
    assert devices["pi4"]["timing"]["queue_depth"] == 3
    assert devices["nano"]["online"] is False
    for words in ("planner online", "pi4", "51 °C", "15.0", "r0s0", "offline"):
        assert words in shown


def test_doctor_checks_everything_and_says_how_to_mend(served: House) -> None:
    document = served.json("doctor")
    by_name = {one["name"]: one for one in document["checks"]}
    assert document["ok"] is True
    assert by_name["planner"]["status"] == by_name["device pi4"]["status"] == by_name["may submit"]["status"] == "ok"
    assert by_name["broker version"]["detail"].startswith("mosquitto")
    assert by_name["device nano"]["status"] == "warn"
    assert "mend:" in served.invoke("doctor").stdout


def test_doctor_tells_a_drained_device_from_one_that_left(served: House) -> None:
    served.invoke("drain", "pi4", "--reason", "new fan", "--timeout", 1)
    by_name = {one["name"]: one for one in served.json("doctor", code=1)["checks"]}
    assert by_name["device pi4"]["detail"] == "it is being drained (new fan)"
    for check in ("device pi4", "devices"):
        assert "`stageline drain pi4 --undo`" in by_name[check]["mend"]
        assert "join" not in by_name[check]["mend"]
    assert "stageline join" in by_name["device nano"]["mend"]


def test_doctor_fails_without_a_broker_or_a_planner(broker: EmbeddedBroker, root: str) -> None:
    lonely = runner.invoke(app, ["doctor", "--broker", broker.url, "--root", root])
    assert lonely.exit_code == 1
    assert "FAIL  planner" in lonely.stdout
    gone = runner.invoke(app, ["doctor", "--broker", "mqtt://127.0.0.1:9"], env={"STAGELINE_CONNECT_TIMEOUT_S": "0.2"})
    assert gone.exit_code == 1
    assert "FAIL  broker" in gone.stdout


def test_doctor_sees_a_packet_limit_and_missing_rights(make_card: Any) -> None:
    async def offer(url: str) -> None:
        card = make_card(shape=(1, 64, 64, 3), dtype="uint8")
        async with Bus(url, name="offer") as bus:
            await bus.publish(MODEL_CARD, card.model_copy(update={"labels": ()}), model=card.name)

    acl = "topic readwrite stageline/v1/model/#\ntopic read stageline/v1/#\n"
    with EmbeddedBroker({"max_packet_size": "9000"}, files={"acl_file": acl}) as limited:
        asyncio.run(offer(limited.url))
        result = runner.invoke(app, ["doctor", "--broker", limited.url, "--json", "-"])
    checks = {one["name"]: one for one in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 1
    assert checks["largest packet"]["status"] == "FAIL"
    assert "max_packet_size" in checks["largest packet"]["mend"]
    assert checks["may submit"]["status"] == checks["may deploy"]["status"] == "FAIL"
    assert "invite --operator" in checks["may submit"]["mend"]


def test_bench_shows_a_table_or_json_and_refuses_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import stageline.benches.planner

    monkeypatch.setattr(
        stageline.benches.planner, "run", lambda _progress, *, quick: {"exact_ms": 6.25 if quick else 12.5}
    )
    shown = runner.invoke(app, ["bench", "planner"])
    assert "12.5" in shown.stdout
    result = runner.invoke(app, ["bench", "planner", "--json", "-"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"exact_ms": 12.5})
    assert "6.25" in runner.invoke(app, ["bench", "planner", "--quick"]).stdout
    assert runner.invoke(app, ["bench", "speed"]).exit_code == 2
