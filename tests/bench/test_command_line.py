import json

from typer.testing import CliRunner

from bench.__main__ import app
from bench.results import write_results

run = CliRunner().invoke


def test_an_unknown_experiment_is_for_the_caller_to_mend():
    outcome = run(app, ["nonsense"])
    assert outcome.exit_code == 2
    assert "there are seed_table, headline" in outcome.output.replace("\n", " ")


def test_a_report_needs_something_to_report_on(tmp_path):
    outcome = run(app, ["report", "--out", str(tmp_path)])
    assert outcome.exit_code == 2
    assert "measure first" in outcome.output.replace("\n", " ")


def test_pictures_must_be_there(tmp_path):
    assert run(app, ["codec", "--pictures", str(tmp_path / "none")]).exit_code == 2


def test_the_report_is_made_again_without_measuring(results, tmp_path):
    write_results(tmp_path / "results.json", results)
    outcome = run(app, ["report", "--out", str(tmp_path), "--json", str(tmp_path / "out.json")])
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "out.json").read_text()) == results
    assert "verdicts" in outcome.output


def test_nothing_is_measured_twice_when_resuming(results, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("bench.__main__._measure", lambda names, *_rest: measured.extend(names) or _outcome(results))
    monkeypatch.setattr("bench.__main__.enter_private_network", lambda: None)
    write_results(tmp_path / "results.json", results)
    assert run(app, ["--resume", "--out", str(tmp_path)]).exit_code == 0
    assert measured == ["memory_bound", "rows", "bus"]


def test_a_full_run_takes_no_quick_figures_for_done(results, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("bench.__main__._measure", lambda names, *_rest: measured.extend(names) or _outcome(results))
    monkeypatch.setattr("bench.__main__.enter_private_network", lambda: None)
    results["meta"]["experiments"]["limit"]["mode"] = "quick"
    write_results(tmp_path / "results.json", results)
    assert run(app, ["--resume", "--out", str(tmp_path)]).exit_code == 0
    assert measured == ["limit", "memory_bound", "rows", "bus"]


def test_a_quick_run_leaves_shared_rows_to_who_names_them(results, tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("bench.__main__._measure", lambda names, *_rest: measured.append(names) or _outcome(results))
    monkeypatch.setattr("bench.__main__.enter_private_network", lambda: None)
    write_results(tmp_path / "results.json", results)
    for arguments in (["--quick", "--resume"], ["--quick", "rows"]):
        assert run(app, [*arguments, "--out", str(tmp_path)]).exit_code == 0
    assert measured == [("memory_bound", "bus"), ("rows",)]


def _outcome(results):
    from bench.runner import Outcome

    return Outcome(results, {})
