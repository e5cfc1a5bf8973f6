"""What every command has in common: its help, and how it ends where it cannot do its work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stageline.cli import COMMANDS, app

runner = CliRunner()


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
