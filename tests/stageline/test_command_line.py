"""Every command from the outside: what it prints, what JSON it writes, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.deployment import Alternative, Decision, Deployment, HubStatus, Pin
from schemas.device import DeviceInfo, DeviceStatus, LinkMeasure, Power, PowerModel, Profile, Telemetry
from schemas.model import ModelCard, Preprocess
from schemas.plan import Prediction
from schemas.stages import StagesHeld, StageTiming, Timing
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_DUTY,
    DEVICE_INFO,
    DEVICE_PROFILE,
    DEVICE_STAGES,
    DEVICE_STATUS,
    DEVICE_TELEMETRY,
    DEVICE_TIMING,
    HUB_STATUS,
    MODEL_CARD,
    PLAN_DECISION,
)
from services.planner.hub_presence import heartbeat
from stageline import deploying, draining
from stageline.cli import COMMANDS, app
from stageline.client import Client

runner = CliRunner()


class Background:
    """An event loop on a thread, for what must go on while a command runs its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class House:
    """A hub in a thread: a fake line that answers, and a fake planner that serves `doubler` and refuses `giant`."""

    def __init__(self, url: str, root: str, line: Any, card: ModelCard) -> None:
        self.url = url
        self.root = root
        self.line = line
        self.card = card

    def args(self, *arguments: object) -> list[str]:
        return [*map(str, arguments), "--broker", self.url, "--root", self.root]

    def invoke(self, *arguments: object) -> Any:
        return runner.invoke(app, self.args(*arguments))

    def json(self, *arguments: object, code: int = 0) -> Any:
        result = self.invoke(*arguments, "--json", "-")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    async def furnish(self) -> None:
        """Cards, a planner, one device that computes and one that left."""
        bus = self.line.bus
        giant = self.card.model_copy(update={"name": "giant"})
        for card in (self.card, giant):
            await bus.publish(MODEL_CARD, card, model=card.name)
        await bus.publish(HUB_STATUS, HubStatus(online=True, boot_id="h1", version="0.1.0"))
        model = PowerModel(idle_w=2, busy_w=6, method="modelled", source="table")
        info = DeviceInfo(
            device="pi4", boot_id="m1", hostname="pi4", machine="Raspberry Pi 4", architecture="aarch64", cores=4,
            capacity_cores=4.0, memory_bytes=4 << 30, power=model,
        )  # fmt: skip
        telemetry = Telemetry(
            device="pi4", boot_id="m1", sequence=1, unix_time=time.time(), load=0.25, capacity_cores=4.0,
            memory_free_bytes=1 << 30, memory_bytes=4 << 30, temperature_c=51.0,
            power=Power(watts=3.0, method="modelled", source="table"),
            link=LinkMeasure(rtt_ms=2.0, up_mbps=90, down_mbps=95, probe_bytes=1000, age_s=1.0),
        )  # fmt: skip
        profile = Profile(
            device="pi4", boot_id="w1", model="doubler", card_sha=self.card.sha256, backend="onnxruntime", threads=1,
            block_ms=(5.0,), frame_ms=0.5, frame_ms_per_mb=1.0, rounds=9, capacity_cores=4.0,
        )  # fmt: skip
        worker = StagesHeld(
            device="pi4", boot_id="w1", online=True, memory_budget_bytes=1 << 30, max_packet_bytes=1 << 26
        )
        await bus.publish(DEVICE_STATUS, DeviceStatus(device="pi4", boot_id="m1", online=True), device="pi4")
        await bus.publish(DEVICE_INFO, info, device="pi4")
        await bus.publish(DEVICE_TELEMETRY, telemetry, device="pi4")
        await bus.publish(DEVICE_PROFILE, profile, device="pi4", model="doubler")
        await bus.publish(DEVICE_STAGES, worker, device="pi4")
        gone = StagesHeld(device="nano", boot_id="w2", online=False, reason="connection lost")
        await bus.publish(DEVICE_STAGES, gone, device="nano")

    async def plan(self) -> None:
        """A planner's answers to what `deploy` and `undeploy` ask."""
        bus = self.line.bus
        async with bus.watch(DEPLOYMENT) as wishes:
            self.planning.set()
            async for change in wishes:
                name, wish = change.parameters["deployment"], change.message
                if wish is None:
                    decision = Decision(deployment=name, generation=1, requested=0.0, state="removed")
                elif wish.model == "giant":
                    decision = Decision(
                        deployment=name, generation=0, requested=wish.requested, state="failed",
                        error="pi4 lacks 400 MB of memory",
                    )  # fmt: skip
                elif "pi4" in wish.exclude:
                    decision = Decision(
                        deployment=name, generation=0, requested=wish.requested, state="failed", error="no device left"
                    )
                else:
                    await self.line.serve("pi4", card=self.card, deployment=name)
                    predicted = Prediction(latency_ms=10, throughput_rps=100, energy_j=0.1)
                    chosen = Alternative(
                        label="chosen", plan="r0: pi4[0:1)", feasible=True, predicted=predicted, reason="one device"
                    )
                    decision = Decision(
                        deployment=name, generation=1, requested=wish.requested, state="serving", plan="r0: pi4[0:1)",
                        predicted=predicted, explanation="Not split: the model is one block.", decided_by="compute",
                        alternatives=(chosen,),
                    )  # fmt: skip
                await bus.publish(PLAN_DECISION, decision, deployment=name)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.planning = asyncio.Event()
        await self.furnish()
        tasks = asyncio.create_task(self.plan()), asyncio.create_task(heartbeat(self.line.bus, "h1"))
        self.planner = tasks
        await self.planning.wait()
        yield
        await self.freeze()

    async def decided(self, deployment: str, state: str) -> None:
        """Until the planner says so."""
        async with asyncio.timeout(10), self.line.bus.subscribe(PLAN_DECISION, deployment=deployment) as decisions:
            async for delivery in decisions:
                if delivery.message.state == state:
                    return

    async def freeze(self) -> None:
        """The planner does nothing any more, and its connection stands."""
        for task in self.planner:
            task.cancel()
        await asyncio.gather(*self.planner, return_exceptions=True)


@pytest.fixture
def background() -> Iterator[Background]:
    one = Background()
    yield one
    one.close()


@pytest.fixture
def house(
    background: Background, broker: EmbeddedBroker, root: str, running_line: Callable[..., Any], make_card: Any
) -> Iterator[House]:
    card = make_card(shape=(1, 8, 8, 3), dtype="uint8", preprocess=Preprocess(resize=8, crop=8))
    stack = AsyncExitStack()

    async def start() -> House:
        line = await stack.enter_async_context(running_line(broker, root, deployment="pictures"))
        made = House(broker.url, root, line, card)
        await stack.enter_async_context(made.open())
        return made

    made = background.run(start())
    yield made
    background.run(stack.aclose())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (20, 12), (250, 10, 10)).save(path)
    return path


@pytest.fixture
def served(house: House) -> House:
    assert house.invoke("deploy", "doubler", "--name", "pictures").exit_code == 0
    return house


# --- the command line itself -----------------------------------------------------------------------------------------
def test_help_lists_every_command_in_groups_and_says_what_exit_codes_mean() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for word in (*COMMANDS, "Start here", "Models and plans", "Use and watch", "Exit codes", "STAGELINE_BROKER"):
        assert word in " ".join(result.output.split())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_help_that_says_what_its_exit_codes_mean(name: str) -> None:
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Exit codes" in " ".join(result.output.split())


def test_help_imports_nothing_heavy() -> None:
    heavy = ["numpy", "pydantic", "onnxruntime", "onnx", "torch", "aiomqtt", "PIL"]
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom stageline.cli import app\n"
        "CliRunner().invoke(app, ['--help'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mistyped_command_gets_a_suggestion() -> None:
    result = runner.invoke(app, ["depoly"])
    assert result.exit_code == 2
    assert "deploy" in result.output


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"stageline \d+\.\d+\.\d+\n", runner.invoke(app, ["--version"]).output)


NEED_A_BROKER = {
    "models": ["models"], "deploy": ["deploy", "x"], "undeploy": ["undeploy", "x"], "plan": ["plan"],
    "plan compare": ["plan", "compare", "x"], "pin": ["pin", "x", "a=0:1"], "exclude": ["exclude", "x", "a"],
    "drain": ["drain", "a"], "forget": ["forget", "a"], "infer": ["infer", __file__], "top": ["top", "--once"],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NEED_A_BROKER))
def test_an_unreachable_broker_is_one_line_and_exit_code_2(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGELINE_CONNECT_TIMEOUT_S", "0.2")
    monkeypatch.setenv("STAGELINE_BROKER", "mqtt://127.0.0.1:9")
    result = runner.invoke(app, NEED_A_BROKER[name])
    assert result.exit_code == 2
    assert "127.0.0.1:9" in result.output
    assert "Traceback" not in result.output


def test_join_says_at_once_that_the_broker_cannot_be_reached() -> None:
    environment = {"STAGELINE_CONNECT_TIMEOUT_S": "0.2", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "stageline.cli", "join", "mqtt://127.0.0.1:9", "--name", "pi4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "127.0.0.1:9" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "given"), [("--name", "kitchen/pi"), ("--cores", "0"), ("--memory-mb", "-1"), ("--backend", "none")]
)
def test_join_names_its_own_option_when_it_cannot_be_used(option: str, given: str) -> None:
    result = runner.invoke(app, ["join", "mqtt://127.0.0.1:9", option, given])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("stageline: STAGELINE_")
    assert f"({option})" in line


def test_errors_are_json_too_where_json_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAGELINE_CONNECT_TIMEOUT_S", "0.2")
    target = tmp_path / "out.json"
    result = runner.invoke(app, ["models", "--broker", "mqtt://127.0.0.1:9", "--json", str(target)])
    assert result.exit_code == 2
    assert "127.0.0.1:9" in json.loads(target.read_text())["error"]


@pytest.mark.parametrize("arguments", [["models", "--json"], ["record"], ["gateway", "--journal", "j", "--json"]])
@pytest.mark.parametrize(("target", "says"), [("nowhere/out.json", "there is no folder"), (".", "is a folder")])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(
    arguments: list[str], target: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, [*arguments, target, "--broker", "mqtt://127.0.0.1:9"])
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_cannot_be_understood_is_exit_code_2() -> None:
    result = runner.invoke(app, ["models", "--broker", "http://hub"])
    assert result.exit_code == 2
    assert "mqtt://" in result.output


# --- models and plans ------------------------------------------------------------------------------------------------
def test_models_lists_what_the_hub_offers(house: House) -> None:
    listed = house.json("models")
    assert [one["name"] for one in listed] == ["doubler", "giant"]
    assert "doubler" in house.invoke("models").stdout


def test_models_lists_a_library_without_asking_anybody(tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "--local", "--library", str(tmp_path), "--json", "-"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


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


# --- changing what is served -----------------------------------------------------------------------------------------
def test_a_file_deploys_several_and_says_each_as_if_typed(house: House, background: Background, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text(
        '[[deployment]]\nmodel = "doubler"\nname = "cats"\nweight = 2\npin = ["pi4=0:1"]\nmemory_limit = ["pi4=20.5"]\n'
        '[[deployment]]\nmodel = "doubler"\nname = "dogs"\nexclude = ["nano"]\n'
    )
    documents = house.json("deploy", "--file", path)
    assert [one["decision"]["deployment"] for one in documents] == ["cats", "dogs"]
    cats, dogs = (
        background.run(house.line.bus.snapshot(DEPLOYMENT, deployment=one))[0].message for one in ("cats", "dogs")
    )
    assert (cats.weight, str(cats.pins[0].device), cats.memory_limit_bytes) == (2.0, "pi4", {"pi4": 20_500_000})
    assert (dogs.weight, dogs.exclude) == (1.0, ("nano",))


def test_a_file_with_one_refusal_deploys_the_rest_and_ends_with_1(house: House, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "giant"\n[[deployment]]\nmodel = "doubler"\n')
    refused, served = house.json("deploy", "-f", path, code=1)
    assert "lacks 400 MB" in refused["error"]
    assert served["decision"]["state"] == "serving"


def test_a_file_with_an_unknown_model_deploys_nothing(house: House, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "doubler"\n[[deployment]]\nmodel = "mobilnet"\n')
    result = house.invoke("deploy", "--file", path)
    assert result.exit_code == 2
    assert "doubler, giant" in result.stderr
    assert house.json("plan") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doubler", "--file", "{file}"], "MODEL and --file: write it into"),
        (["--file", "{file}", "-o", "throughput"], "--objective and --file"),
        (["--file", "none.toml"], "name an existing deployments file"),
        ([], "say which model"),
        (["doubler", "--weight", "0"], "--weight 0.0: Input should be greater"),
    ],
)
def test_deploy_says_what_to_do_when_it_is_told_too_much_or_too_little(
    house: House, tmp_path: Path, arguments: list[str], says: str
) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "doubler"\n')
    result = house.invoke("deploy", *(one.format(file=path) for one in arguments))
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


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


# --- devices that go -------------------------------------------------------------------------------------------------
def test_a_device_that_nothing_uses_may_be_switched_off_at_once_and_comes_back(
    house: House, background: Background
) -> None:
    assert house.json("drain", "nano", "--reason", "dust")["drained"] is True
    [kept] = background.run(house.line.bus.snapshot(DEVICE_DUTY, device="nano"))
    assert (kept.message.duty, kept.message.reason) == ("drain", "dust")
    assert house.json("drain", "nano", "--undo") == {"device": "nano", "drained": False, "undone": True}
    assert background.run(house.line.bus.snapshot(DEVICE_DUTY)) == []
    assert "was not being drained" in house.invoke("drain", "nano", "--undo").stdout


def test_a_device_that_does_not_get_free_in_time_is_said_to_be_needed(served: House) -> None:
    result = served.invoke("drain", "pi4", "--timeout", 1)
    assert result.exit_code == 1
    assert "not within 1 s: pictures: waiting for a plan without pi4" in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["drain", "forget"])
def test_a_device_that_nobody_has_heard_of_is_neither_drained_nor_forgotten(house: House, command: str) -> None:
    result = house.invoke(command, "pi5")
    assert result.exit_code == 2
    assert "devices there are: nano, pi4" in " ".join(result.stderr.split())


def test_without_a_planner_nothing_is_drained(house: House, background: Background) -> None:
    background.run(house.line.bus.publish(HUB_STATUS, HubStatus(online=False, boot_id="h1")))
    background.run(house.freeze())
    assert house.invoke("drain", "pi4").exit_code == 2
    assert background.run(house.line.bus.snapshot(DEVICE_DUTY)) == []


def test_a_device_that_is_gone_is_forgotten_and_whoever_still_names_it_is_told(
    served: House, background: Background
) -> None:
    served.json("exclude", "pictures", "nano")
    result = served.invoke("forget", "nano")
    assert result.exit_code == 0, result.output
    assert "stageline exclude pictures nano --undo" in result.stderr
    assert background.run(served.line.bus.snapshot(DEVICE_STAGES, device="nano")) == []
    assert {one["device"] for one in served.json("top")["devices"]} == {"pi4"}


def test_a_device_that_is_online_is_only_forgotten_by_force(house: House, background: Background) -> None:
    bus = house.line.bus
    result = house.invoke("forget", "pi4")
    assert result.exit_code == 2
    assert "its monitor and worker" in result.stderr
    cleared = house.json("forget", "pi4", "--force")["cleared"]
    assert {"device/pi4/info", "device/pi4/profile/doubler", "device/pi4/stages", "device/pi4/status"} <= set(cleared)
    for topic in (DEVICE_STATUS, DEVICE_INFO, DEVICE_TELEMETRY, DEVICE_STAGES, DEVICE_PROFILE):
        assert background.run(bus.snapshot(topic, device="pi4")) == []


# --- use and watch ---------------------------------------------------------------------------------------------------
def test_infer_shows_label_probability_latency_and_route(served: House, picture: Path) -> None:
    result = served.invoke("infer", picture, "--receipts", "--top", 2)
    assert result.exit_code == 0, result.output
    for words in ("red.png", "ant", "r0: pi4[0:1)", "1 answered, 0 failed", "compute ms"):
        assert words in result.stdout
    document = served.json("infer", picture)
    assert document["results"][0]["label"] == "ant"
    assert document["results"][0]["receipt"]["stages"][0]["device"] == "pi4"
    assert document["summary"]["failed"] == 0
    assert document["audit"]["lost"] == 0


def test_one_unreadable_picture_among_many_fails_alone(served: House, picture: Path) -> None:
    (picture.parent / "broken.jpg").write_bytes(b"no picture")
    (picture.parent / "notes.txt").write_text("not looked at")
    for index in range(4):
        Image.new("RGB", (9, 9), (0, 60 * index, 0)).save(picture.parent / f"{index}.png")
    document = served.json("infer", picture.parent, code=1)
    failed = [one["file"] for one in document["results"] if "error" in one]
    assert failed == [str(picture.parent / "broken.jpg")]
    assert document["summary"]["answered"] == 5
    assert "cannot be read" in served.invoke("infer", picture.parent).stdout


def test_infer_takes_saved_arrays_refuses_wrong_shapes_and_saves_outputs(served: House, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.full((1, 8, 8, 3), 9, np.uint8))
    np.savez(tmp_path / "named.npz", x=np.full((8, 8, 3), 9, np.uint8))
    np.save(tmp_path / "wrong.npy", np.zeros((2, 2), np.float32))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    document = served.json("infer", tmp_path, "--save", tmp_path / "out", "--deployment", "pictures", code=1)
    by_name = {Path(one["file"]).name: one for one in document["results"]}
    assert {name for name, one in by_name.items() if "error" not in one} == {"good.npy", "named.npz"}
    assert "expected x uint8[1x8x8x3], given float32[2x2]" in by_name["wrong.npy"]["error"]
    with np.load(by_name["good.npy"]["saved"]) as saved:
        assert saved["y"].shape == (1, 4)


def test_infer_says_what_to_do_without_deployments_or_pictures(
    house: House, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = house.invoke("infer", picture)
    assert nothing.exit_code == 2
    assert "stageline deploy" in nothing.stderr
    (tmp_path / "empty").mkdir()
    assert house.invoke("infer", tmp_path / "empty").exit_code == 2
    missing = house.invoke("infer", picture, tmp_path / "nofile.jpg")
    assert missing.exit_code == 2
    assert "nofile.jpg" in missing.stderr
    monkeypatch.setattr(Client, "ready", None)  # nothing is waited for
    unknown = house.invoke("infer", picture, "--deployment", "unknown")
    assert unknown.exit_code == 2
    assert "nothing is deployed as 'unknown'" in unknown.stderr


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


# --- set up machines -------------------------------------------------------------------------------------------------
def test_import_puts_an_onnx_file_into_the_library(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])],
        "small",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "small.onnx")
    library = ["--library", str(tmp_path / "library")]
    result = runner.invoke(app, ["import", str(tmp_path / "small.onnx"), *library, "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["name"] == "small"
    assert "small" in runner.invoke(app, ["models", "--local", *library]).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "missing.onnx"),
        (["mobilnet_v2"], "mobilenet_v2"),
        (["resnet18", "--weights", "good"], "default or random"),
        (["resnet18", "--input-shape", "big"], "1x3x224x224"),
    ],
)
def test_import_refuses_in_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["import", *arguments, "--library", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_hub_with_users_invites_devices_and_operators(open_folder: Path) -> None:
    hub = ["--hub-dir", str(open_folder / "hub")]
    assert runner.invoke(app, ["invite", "pi4", *hub]).exit_code == 2
    assert runner.invoke(app, ["hub", "--init", "--port", "18999", *hub]).exit_code == 0
    again = runner.invoke(app, ["hub", "--init", *hub])
    assert (again.exit_code, "already has users" in again.output) == (2, True)
    device = runner.invoke(app, ["invite", "pi4", *hub, "--host", "hub.local", "--json", "-"])
    assert device.exit_code == 0, device.output
    assert re.fullmatch(
        r"stageline join 'mqtt://pi4:.+@hub\.local:18999' --name pi4", json.loads(device.stdout)["line"]
    )
    assert "systemctl reload mosquitto" in device.stderr
    person = runner.invoke(app, ["invite", "--operator", "ann", *hub])
    target = open_folder / "ann.json"
    target.write_text("{}")
    assert runner.invoke(app, ["invite", "--operator", "ann", *hub, "--json", str(target)]).exit_code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert "STAGELINE_BROKER='mqtt://ann:" in person.stdout
    assert runner.invoke(app, ["invite", "no/slash", *hub]).exit_code == 2


def test_an_address_to_listen_on_without_users_is_a_usage_error() -> None:
    result = runner.invoke(app, ["hub", "--bind", "127.0.0.1"])
    assert result.exit_code == 2
    assert "--init" in result.stderr


def test_a_hub_refuses_a_folder_that_its_broker_could_not_enter(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import pwd

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: pwd.struct_passwd(("nobody", "", 65534, 65534, "", "", "")))
    (home := open_folder / "home").mkdir(mode=0o700)
    result = runner.invoke(app, ["hub", "--init", "--hub-dir", str(home / "state" / "hub")])
    assert result.exit_code == 2
    assert f"cannot enter {home} " in result.stderr
    assert "--hub-dir /var/lib/stageline-hub" in result.stderr
    assert list(home.iterdir()) == []


def test_hub_and_join_run_as_children_of_one_command_each(tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"mqtt://127.0.0.1:{port}"
    environment = {
        "STAGELINE_STATE_DIR": str(tmp_path / "state"),
        "PATH": "/usr/sbin:/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "stageline.cli"]

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)

    async def both_up() -> None:
        async with (
            asyncio.timeout(60),
            Bus(url, name="watch", connect_timeout_s=30) as bus,
            bus.subscribe(HUB_STATUS) as hubs,
            bus.subscribe(DEVICE_STAGES, device="pi4") as workers,
        ):
            while not (await anext(hubs)).message.online:
                pass
            joined.append(start("join", url, "--name", "pi4", "--json", str(tmp_path / "join.json")))
            while not (await anext(workers)).message.online:
                pass

    async def planner_comes_back() -> None:
        pid = json.loads((tmp_path / "hub.json").read_text())["pids"]["planner"]
        async with (
            asyncio.timeout(60),
            Bus(url, name="watch") as bus,
            bus.subscribe(HUB_STATUS) as hubs,
        ):
            os.kill(pid, signal.SIGKILL)
            while (await anext(hubs)).message.online:
                pass
            while not (await anext(hubs)).message.online:
                pass

    joined: list[subprocess.Popen[str]] = []
    hub = start("hub", "--port", str(port), "--json", str(tmp_path / "hub.json"))
    try:
        asyncio.run(both_up())
        assert json.loads((tmp_path / "hub.json").read_text())["loopback_only"] is True
        assert set(json.loads((tmp_path / "join.json").read_text())["pids"]) == {"monitor", "worker"}
        second = subprocess.run(
            [*command, "hub", "--port", str(port)], env=environment, capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert f"port {port} already" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        asyncio.run(planner_comes_back())
        double = subprocess.run(
            [*command, "join", url, "--name", "pi4"], env=environment, capture_output=True, text=True, check=False
        )
        assert double.returncode == 2
        [said_once] = double.stderr.splitlines()
        assert said_once.startswith("stageline: another ")
        assert "--name NAME" in said_once
    finally:
        said = []
        for process in (*joined, hub):
            process.terminate()
            said.append(process.communicate(timeout=30)[1])
    assert [process.returncode for process in (*joined, hub)] == [0, 0], said


def test_a_join_ends_when_its_monitor_does(broker: EmbeddedBroker, root: str, tmp_path: Path) -> None:
    environment = {
        "STAGELINE_STATE_DIR": str(tmp_path), "STAGELINE_ROOT": root, "STAGELINE_BUSY_W": "-1",
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "stageline.cli", "join", broker.url, "--name", "pi4"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "monitor ended with status 2" in done.stderr
