"""What the command line says of itself, and of arguments that it cannot use."""

from __future__ import annotations

from itertools import pairwise

import pytest
from typer.testing import CliRunner

from stageline.cli import COMMANDS, app, flowing


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "--polcy", "x"], "--policy"),
        (["infer"], "stageline infer --help"),
        (["deploy", "x", "--weight", "q"], "--weight"),
        (["plan", "a", "b"], "(b)"),
        (["depoly"], "deploy"),
        (["hub", "--bind", "127.0.0.1"], "--init"),
    ],
)
def test_arguments_that_cannot_be_used_are_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="stageline")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("stageline: ")
    assert says in line


def test_nothing_asked_is_the_help_and_exit_code_2() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Start here" in result.stdout
    assert not result.stderr


def test_paragraphs_flow_and_examples_stay_lines() -> None:
    text = "One\ntwo.\n\nstageline a      (why)\n\n    kept\n    too\n\nThree\nfour\nstageline b"
    assert flowing(text) == "One two.\n\nstageline a   (why)\n\n    kept\n    too\n\nThree four\nstageline b"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_fills_its_lines_in_a_narrow_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = CliRunner().invoke(app, [*name.split(), "--help"]).stdout.splitlines()
    prose = [line.strip() for line in lines[: next(n for n, line in enumerate(lines) if line.startswith("╭"))]]
    # A line ends early only where the next word would not have fitted.
    for line, after in pairwise(prose):
        if line and after and not after.startswith("stageline "):
            assert len(line) + 1 + len(after.split()[0]) > 70, line
