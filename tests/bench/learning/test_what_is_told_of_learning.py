"""Figures, tables and pictures of made-up worlds and of the live run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.learning import sections
from bench.learning.live import Answered, LiveRun, Turn
from bench.learning.live_figures import draw_live, live_data, live_sentences, live_table
from bench.learning.regrets import DECISIONS, Regrets
from bench.learning.report import after, draw_sections, most_allowed, sections_table, sentences
from bench.learning.scene import fleet_world
from services.planner.learning.learner import Learner
from services.planner.learning.playing import Played, Step
from services.planner.learning.ucb import Ucb


def shown(what: object) -> str:
    console = Console(width=240, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def run_of(*costs: float) -> Played:
    """Exact's plan always costs 120, the best 100."""
    steps = tuple(Step("p", "exploring", cost, 120.0, 100.0) for cost in costs)
    return Played(steps, Learner())


def test_decisions_until_and_what_was_lost_to_exact_are_counted_by_run() -> None:
    late = run_of(*[130.0] * 20, *[101.0] * (DECISIONS - 20))
    never = run_of(*[119.0] * DECISIONS)
    data = Regrets("made-up", (late, never)).as_data()
    until, missed = data["decisions_until"]
    assert 0 < until <= 20
    assert missed is None
    assert after(data) == f"{until}, 1 not reached"
    assert data["longest_dearer"] == 20
    assert data["most_lost_to_exact"] == pytest.approx(20 / 12)
    assert after(Regrets("made-up", (never,)).as_data()) == "not reached"


def test_every_section_has_a_row_for_each_policy_and_a_curve_in_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {
        "slow_link": sections.SECTIONS["slow_link"],
        "nothing_wrong": sections.Section("Nothing wrong", lambda count: [fleet_world(count)]),
    }
    for name in ("bench.learning.sections", "bench.learning.report"):
        monkeypatch.setattr(f"{name}.SECTIONS", few)
    found = sections.measured({"bandit": Ucb()}, count=1, noises=1, tell=lambda _what, _share: None)
    assert [row["policy"] for rows in found.values() for row in rows] == ["bandit"] * 2
    assert json.loads(json.dumps(found)) is not None
    assert "A link twice as slow as believed" in shown(sections_table(found))
    assert f"{most_allowed(DECISIONS):g}" in " ".join(sentences())
    draw_sections(tmp_path / "deep" / "learning.png", found)
    assert (tmp_path / "deep" / "learning.png").read_bytes().startswith(b"\x89PNG")


def answers(*found: tuple[float, str]) -> list[Answered]:
    """One a second."""
    return [Answered(float(at), ms, plan) for at, (ms, plan) in enumerate(found)]


def live_run(*, noticed_s: float | None) -> LiveRun:
    turns = [
        Turn("exact", answers(*[(200.0, "box[0:9)")] * 30)),
        Turn("bandit", answers(*[(200.0, "box[0:9)")] * 10, *[(90.0, "far[0:9)")] * 2, *[(100.0, "spare[0:9)")] * 30)),
    ]
    learning = {"decisions": 20, "explored": 5, "extra_cost": 0.02, "state": "acting"}
    return LiveRun("box", 40.0, 10.0, turns, [39.0, 38.0], learning, noticed_s=noticed_s, noticed_plan="r0: spare[0:9)")


def test_regret_of_the_live_run_is_against_the_best_plan_that_was_served_for_a_while(tmp_path: Path) -> None:
    data = live_data(live_run(noticed_s=12.0))
    exact, bandit = data["turns"]
    assert data["best_plan"] == "spare[0:9)"
    assert (exact["regret"], bandit["regret_last_third"]) == (pytest.approx(1.0), pytest.approx(0.0))
    assert bandit["plans"] == {"box[0:9)": 10, "far[0:9)": 2, "spare[0:9)": 30}
    assert [at_s for at_s, _ in bandit["bins_ms"]] == [0.0, 10.0, 20.0, 30.0, 40.0]
    table = shown(live_table(data))
    assert "10 of 40 Mbit/s" in table
    assert "spare[0:9)" in table
    told = " ".join(live_sentences(data))
    assert "38 to 39 Mbit/s" in told
    assert "after 12 s" in told
    draw_live(tmp_path / "live.png", data)
    assert (tmp_path / "live.png").read_bytes().startswith(b"\x89PNG")


def test_that_exact_did_not_move_is_said() -> None:
    assert any("did not move" in sentence for sentence in live_sentences(live_data(live_run(noticed_s=None))))
