"""The benches run as the command line runs them and report what they promise; how fast it is is nobody's test."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import pytest
from typer.testing import CliRunner

from stageline.benches import hop
from stageline.cli import app
from stageline.commands.bench import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_bench_is_run_alike(name: str) -> None:
    run = import_module(f"stageline.benches.{name}").run
    assert not inspect.iscoroutinefunction(run)
    parameters = inspect.signature(run).parameters
    assert next(iter(parameters)) == "progress"
    assert parameters["progress"].annotation == "Callable[[str, float], None] | None"
    assert parameters["quick"].kind is inspect.Parameter.KEYWORD_ONLY
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())


@pytest.mark.timeout(60)
def test_the_hop_bench_reports_both_ways_for_every_size() -> None:
    seen: list[tuple[str, float]] = []
    figures = hop.run(lambda what, share: seen.append((what, share)), quick=True)
    assert [line["bytes"] for line in figures] == [50_000, 200_000, 800_000, 3_200_000]
    for line in figures:
        assert set(line) == {"bytes", "stageline_ms", "relay_ms", "ratio"}
        assert line["stageline_ms"] > 0
        assert line["relay_ms"] > 0
        assert line["ratio"] == pytest.approx(line["stageline_ms"] / line["relay_ms"], rel=0.05)
    assert seen == [("50 KB", 0.0), ("200 KB", 0.25), ("800 KB", 0.5), ("3200 KB", 0.75)]


@pytest.mark.timeout(60)
def test_the_hop_bench_runs_from_the_command_line() -> None:
    result = CliRunner().invoke(app, ["bench", "hop", "--quick", "--json", "-"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == 4
