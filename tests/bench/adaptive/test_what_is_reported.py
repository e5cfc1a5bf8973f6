"""Results are JSON that anybody can read, tables and a picture, also when a run is missing."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from bench.adaptive.contenders import CONTENDERS
from bench.adaptive.loads import Asked
from bench.adaptive.measure import Run
from bench.adaptive.picture import draw
from bench.adaptive.report import curves, document, sentence, table
from bench.adaptive.trace import make_trace

TRACE = make_trace(("a", "b", "c"), 60.0, 0)


def run(contender: str, latency_ms: float) -> Run:
    some = [
        Asked(n / 10, n / 10 + latency_ms / 1e3, latency_ms, energy_j=0.1, energy_method="modelled") for n in range(300)
    ]
    plans = [
        {"at_s": 0.0, "generation": 1, "plan": "r0: a[0:5)", "cause": "asked for"},
        {"at_s": 9.5, "generation": 2, "plan": "r0: b[0:5)", "cause": "a is slower"},
    ]
    return Run(contender, "paced", 60.0, TRACE, some, plans)


def shown(*some: object) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for one in some:
            console.print(one)
    return captured.get()


def test_the_document_holds_the_trace_every_figure_and_the_verdict() -> None:
    runs = [run("adaptive", 20.0), run("static-exact", 100.0)]
    found = json.loads(json.dumps(document(runs, seed=3, quick=True), allow_nan=False))
    assert (found["seed"], found["seconds"], len(found["trace"])) == (3, 60.0, len(TRACE))
    assert found["meta"]["mode"] == "quick"
    paced = found["loads"]["paced"]
    assert paced["contenders"]["adaptive"]["plans"][1]["cause"] == "a is slower"
    assert paced["contenders"]["adaptive"]["changes_of_plan"] == 1
    assert paced["verdict"]["reached"]
    assert found["contenders"].keys() == {one.name for one in CONTENDERS}


def test_the_table_and_the_sentence_say_who_won_and_by_how_much() -> None:
    part = document([run("adaptive", 20.0), run("static-exact", 100.0)], seed=0, quick=False)["loads"]["paced"]
    text = shown(table("paced", part), sentence("paced", part["verdict"]))
    assert "100.0" in text
    assert "0.100 modelled" in text
    assert "+80% lower p95 latency than static-exact" in " ".join(text.split())
    assert "no verdict" in sentence("paced", None)


def test_what_answered_nothing_is_shown_as_such() -> None:
    nothing = Run("adaptive", "paced", 60.0, TRACE)
    part = document([nothing, run("static-exact", 100.0)], seed=0, quick=False)["loads"]["paced"]
    assert part["verdict"] is None
    assert "-" in shown(table("paced", part))


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "adaptive.png"
    draw(path, curves([run("adaptive", 20.0), run("static-exact", 100.0)]), TRACE, 60.0)
    assert path.read_bytes().startswith(b"\x89PNG")
