import json
from types import SimpleNamespace

import pytest

from bench.context import Context
from bench.results import BadResultsError, read_results, write_results
from bench.runner import EARLIER_FULL, FILE, run_all
from models.library import Library


@pytest.fixture
def context(tmp_path):
    return Context(quick=False, folder=tmp_path, library=Library(tmp_path / "library"))


def found_by(**parts):
    """A stand-in for the experiments: each returns its part, or raises it."""

    def run(part):
        if isinstance(part, Exception):
            raise part
        return part

    return lambda name: SimpleNamespace(run=lambda _context: run(parts[name]))


def test_a_failing_experiment_is_told_and_the_others_go_on(context):
    find = found_by(limit=ValueError("no such\nfleet"), peers={"peers": [1]})
    outcome = run_all(["limit", "peers"], context, find=find)
    assert outcome.failures == {"limit": "ValueError: no such fleet"}
    written = json.loads((context.folder / FILE).read_text())
    assert written["peers"] == [1]
    assert written["meta"]["failures"]["limit"]["reason"] == "ValueError: no such fleet"
    assert "no such\nfleet" in (context.folder / "raw" / "limit.failed.txt").read_text()


def test_the_reason_of_a_group_is_that_of_its_innermost_error(context):
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("again", [OSError("no route")])])
    assert run_all(["bus"], context, find=found_by(bus=group)).failures == {"bus": "OSError: no route"}


def test_parts_that_are_not_measured_again_stay_with_their_own_age(context):
    run_all(["limit", "peers"], context, find=found_by(limit={"limit": [1]}, peers={"peers": [1]}))
    before = read_results(context.folder / FILE)
    run_all(["peers"], context, find=found_by(peers={"peers": [2]}))
    after = read_results(context.folder / FILE)
    assert (after["limit"], after["peers"]) == ([1], [2])
    assert after["meta"]["experiments"]["limit"] == before["meta"]["experiments"]["limit"]
    about = after["meta"]["experiments"]["peers"]
    assert {"taken", "took_s", "mode", "machine", "commit", "load_before"} <= about.keys()


def test_an_earlier_figure_outlives_a_later_failure_until_it_is_measured_again(context):
    run_all(["limit"], context, find=found_by(limit={"limit": [1]}))
    failed = run_all(["limit"], context, find=found_by(limit=ValueError("busy"))).results
    assert failed["limit"] == [1]
    assert failed["meta"]["failures"]["limit"]["reason"] == "ValueError: busy"
    again = run_all(["limit"], context, find=found_by(limit={"limit": [3]})).results
    assert again["limit"] == [3]
    assert again["meta"]["failures"] == {}


def test_results_are_on_disk_before_the_next_experiment_begins(context):
    seen = []

    def begun(name):
        path = context.folder / FILE
        seen.append((name, list(json.loads(path.read_text())) if path.exists() else []))

    run_all(["limit", "peers"], context, find=found_by(limit={"limit": []}, peers={"peers": []}), begun=begun)
    assert seen == [("limit", []), ("peers", ["meta", "limit"])]


@pytest.mark.parametrize("part", [{"limit": float("nan")}, {"limit": object()}, {"meta": {}}])
def test_what_cannot_be_kept_fails_its_experiment_alone(context, part):
    outcome = run_all(["limit", "peers"], context, find=found_by(limit=part, peers={"peers": []}))
    assert list(outcome.failures) == ["limit"]
    assert read_results(context.folder / FILE)["peers"] == []


def test_a_quick_look_keeps_the_full_figures_aside(context, tmp_path):
    run_all(["limit"], context, find=found_by(limit={"limit": ["full"]}))
    quick = Context(quick=True, folder=tmp_path, library=context.library)
    run_all(["limit"], quick, find=found_by(limit={"limit": ["quick"]}))
    assert read_results(tmp_path / FILE)["limit"] == ["quick"]
    assert read_results(tmp_path / EARLIER_FULL)["limit"] == ["full"]


def test_a_second_quick_look_does_not_replace_full_figures_kept_by_the_first(context, tmp_path):
    quick = Context(quick=True, folder=tmp_path, library=context.library)
    full = found_by(limit={"limit": ["full"]}, peers={"peers": ["full"]})
    coarse = found_by(limit={"limit": ["quick"]}, peers={"peers": ["quick"]})
    run_all(["limit", "peers"], context, find=full)
    run_all(["limit"], quick, find=coarse)
    run_all(["peers"], quick, find=coarse)
    kept = read_results(tmp_path / EARLIER_FULL)
    assert (kept["limit"], kept["peers"]) == (["full"], ["full"])
    assert {about["mode"] for about in kept["meta"]["experiments"].values()} == {"full"}


@pytest.mark.parametrize(
    "experiments",
    [[], {"limit": 1}, {"limit": {"parts": ["limit"]}}, {"limit": {"parts": ["gone"]}}, {"limit": {"parts": [[]]}}],
)
def test_a_file_that_somebody_else_made_is_refused_with_what_is_wrong(tmp_path, experiments):
    about = {
        "taken": "now", "took_s": 1, "mode": "full", "machine": "m", "commit": "c", "links": "emulated",
        "load_before": 0, "load_after": 0,
    }  # fmt: skip
    if isinstance(experiments, dict) and experiments["limit"] in ({"parts": ["gone"]}, {"parts": [[]]}):
        experiments["limit"] |= about
    write_results(tmp_path / FILE, {"meta": {"experiments": experiments, "failures": {}}})
    with pytest.raises(BadResultsError, match=r"meta\.experiments"):
        read_results(tmp_path / FILE)


def test_a_damaged_file_is_not_overwritten_silently(context):
    path = context.folder / FILE
    write_results(path, {"meta": {}})
    with pytest.raises(BadResultsError, match="move it away"):
        run_all(["limit"], context, find=found_by(limit={"limit": []}))


def test_raw_figures_are_kept_line_by_line_with_time_and_load(context):
    context.raw("limit", {"rps": 1.5})
    context.raw("limit", {"rps": 2.5})
    lines = [json.loads(line) for line in (context.folder / "raw" / "limit.jsonl").read_text().splitlines()]
    assert [line["rps"] for line in lines] == [1.5, 2.5]
    assert {"unix_s", "load_1min", "quick"} <= lines[0].keys()
