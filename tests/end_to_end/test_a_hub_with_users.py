"""From nothing to an answer by the command line alone, on a hub where everyone needs a name and a password."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from end_to_end.small_line import some_input, stack_of_convolutions
from own_port import own_port

from models.library import Library
from models.runtime import load_stage

TIMEOUT_S = 120.0


class Terminal:
    """Runs `stageline ...` with one folder as everybody's state, and ends what it has left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, broker: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stageline.cli", *arguments],
            env=self._environment(broker), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"stageline {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *arguments: str, broker: str = "", state: str = "state") -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}-{len(self._running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stageline.cli", *arguments],
                env=self._environment(broker, state), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._running.append(process)
        return process

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            for process in self._running:
                assert process.poll() is None, self.logs()
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def end(self) -> list[int]:
        codes = []
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            codes.append(process.wait(timeout=TIMEOUT_S))
        self._running.clear()
        return codes

    def _environment(self, broker: str, state: str = "state") -> dict[str, str]:
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("STAGELINE_")}
        return {**quiet, "STAGELINE_STATE_DIR": str(self.folder / state), "STAGELINE_BROKER": broker}


@pytest.fixture
def terminal(open_folder: Path) -> Iterator[Terminal]:
    opened = Terminal(open_folder)
    yield opened
    opened.end()


def test_from_nothing_to_an_answer_on_a_hub_with_users(terminal: Terminal) -> None:
    folder = terminal.folder
    onnx.save(stack_of_convolutions(), folder / "stack.onnx")
    np.save(folder / "input.npy", some_input(1))

    terminal.run("hub", "--init", "--bind", "127.0.0.1", "--port", str(own_port()))
    invited = {
        name: json.loads(terminal.run("invite", name, *role, "--host", "127.0.0.1", "--json", "-"))["address"]
        for name, role in (("ant", ()), ("bee", ()), ("ann", ("--operator",)))
    }
    terminal.run("import", str(folder / "stack.onnx"))
    terminal.start("hub", "--json", str(folder / "hub.json"))
    terminal.until((folder / "hub.json").exists)
    for device in ("ant", "bee"):
        terminal.start("join", invited[device], "--name", device, state=device)
    ann = invited["ann"]

    def online() -> set[str]:
        seen = json.loads(terminal.run("top", "--json", "-", broker=ann))
        return {device["device"] for device in seen["devices"] if device["online"]}

    terminal.until(lambda: online() == {"ant", "bee"})
    deployed = json.loads(
        terminal.run("deploy", "stack", "--pin", "ant=0:1", "--pin", "bee=5:6", "--json", "-", broker=ann)
    )
    assert deployed["decision"]["state"] == "serving"
    answered = json.loads(terminal.run("infer", str(folder / "input.npy"), "--json", "-", broker=ann))
    [result] = answered["results"]
    assert [stage["device"] for stage in result["receipt"]["stages"]] == ["ant", "bee"]
    assert "ant[0:" in terminal.run("plan", broker=ann)
    checks = terminal.run("doctor", broker=ann)
    assert "FAIL" not in checks

    # Whoever is invited while the hub runs gets in at once.
    late = json.loads(terminal.run("invite", "--operator", "bob", "--host", "127.0.0.1", "--json", "-"))["address"]
    terminal.run("models", broker=late)

    # Without a name nobody gets in, and a device may not speak as another.
    terminal.run("plan", broker=ann.replace("ann:", "nobody:"), code=2)
    terminal.run("deploy", "stack", broker=invited["ant"], code=2)
    assert set(terminal.end()) == {0}

    library = Library(folder / "state" / "library")
    card = library.card("stack")
    whole = load_stage(card, library.blobs, 0, len(card.blocks))
    assert whole.run({card.inputs[0].name: some_input(1)})
    whole.close()
