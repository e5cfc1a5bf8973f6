"""Replays decide what the planner would have decided, from the same messages, by any policy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from simulations.simulated_fleet import Said, Simulation, Truth
from typer.testing import CliRunner

from schemas.accuracy import RouteSeen, Seen
from schemas.deployment import Deployment, Pin
from schemas.device import Duty
from schemas.stages import StagesHeld
from schemas.topics import DEPLOYMENT, DEVICE_DUTY, DEVICE_STAGES, SEEN
from services.planner.policies import UnknownPolicyError
from stageline.cli import app
from stageline.recording import Heard, header_line, line_of
from stageline.replay_outcome import document
from stageline.replaying import replay


class Tape:
    """A simulated fleet, and all that it said."""

    def __init__(self, **wanted: object) -> None:
        self.heard: list[Heard] = []
        wish = Deployment.model_validate({"deployment": "cats", "model": "net", **wanted})
        truth = {"a": Truth(2.0), "b": Truth(3.0), "c": Truth(5.0)}
        self.played = Simulation(truth, wish, seed=7, rate_rps=10, on_said=self._keep)

    def _keep(self, now_s: float, said: Said) -> None:
        self.heard.append(Heard(now_s, *said))


@pytest.fixture(scope="module")
def slowed() -> Tape:
    tape = Tape()
    tape.played.run(30)
    tape.played.change("a", cores=0.25)
    tape.played.run(30)
    return tape


def test_a_replay_by_the_same_policy_decides_what_was_decided(slowed: Tape) -> None:
    outcome = replay(slowed.heard)
    really = [row.plan for row in outcome.rows if row.who == "served"]
    replayed = [row.plan for row in outcome.rows if row.who == "replayed"]
    assert replayed == really == ["r0: a[0:8)", "r0: b[0:8)"]
    moved = [row for row in outcome.rows if row.who == "replayed"][-1]
    assert abs(moved.at_s - slowed.played.moves[0][0]) <= 2
    assert "0.25 cores" in moved.why
    assert moved.gain is not None
    assert moved.gain > 0.4
    assert moved.moved_bytes == 8_000_000
    tally = outcome.tallies["cats"]
    assert (tally.moves, tally.served_moves) == (1, 1)


def test_another_policy_is_shown_beside_what_really_happened(slowed: Tape) -> None:
    outcome = replay(slowed.heard, policy="even-split")
    replayed = [row for row in outcome.rows if row.who == "replayed"]
    assert len(replayed[0].plan.split("->")) == 3
    assert [row.plan for row in outcome.rows if row.who == "served"] == ["r0: a[0:8)", "r0: b[0:8)"]
    sums = document(outcome)["deployments"]["cats"]
    assert sums["served"]["latency_ms"] < sums["replayed"]["latency_ms"]


def test_a_lost_device_is_planned_around_at_the_next_look() -> None:
    tape = Tape()
    tape.played.run(10)
    gone = StagesHeld(device="a", boot_id="w", online=False, reason="vanished")
    tape.heard += [
        Heard(20.0, DEVICE_STAGES, {"device": "a"}, gone),
        Heard(25.0, DEPLOYMENT, {"deployment": "x"}, None),
    ]
    rows = [row for row in replay(tape.heard).rows if row.who == "replayed"]
    assert [(row.plan, row.why) for row in rows[1:]] == [("r0: b[0:8)", "lost a")]
    assert 20 <= rows[1].at_s <= 21


def duties(at_s: float, *devices: str, duty: str) -> list[Heard]:
    return [
        Heard(at_s, DEVICE_DUTY, {"device": one}, Duty.model_validate({"device": one, "duty": duty})) for one in devices
    ]


def replayed_rows(tape: Tape, *more: Heard) -> list[tuple[float, str, str]]:
    end = Heard(60.0, DEPLOYMENT, {"deployment": "x"}, None)
    rows = replay([*tape.heard, *more, end]).rows
    return [(row.at_s, row.plan, row.why) for row in rows if row.who == "replayed"][1:]


def test_a_drained_device_is_planned_around_and_named() -> None:
    tape = Tape()
    tape.played.run(10)
    [(_, plan, why)] = replayed_rows(tape, *duties(20.0, "a", duty="drain"))
    assert (plan, why) == ("r0: b[0:8)", "drained a")


def test_while_all_are_drained_the_plan_goes_on_and_it_is_told_when_that_ends() -> None:
    tape = Tape()
    tape.played.run(10)
    drained = duties(20.0, "a", "b", "c", duty="drain")
    (refused_s, goes_on, refused), (again_s, same, again) = replayed_rows(
        tape, *drained, *duties(30.0, "a", duty="serve")
    )
    assert goes_on == same == "r0: a[0:8)"
    assert refused.startswith("refused, the plan before it goes on: ")
    assert "drained a, b, c" in refused
    assert "stageline join" not in refused
    assert again.startswith("possible again")
    assert (20 <= refused_s <= 21, 30 <= again_s <= 31) == (True, True)


def test_while_all_are_lost_there_is_none_and_it_is_told_when_that_ends() -> None:
    tape = Tape()
    tape.played.run(10)
    there = {one.parameters["device"]: one for one in tape.heard if one.topic is DEVICE_STAGES}
    gone = [
        Heard(20.0, DEVICE_STAGES, {"device": one}, StagesHeld(device=one, boot_id="w", online=False)) for one in there
    ]
    back = replace(there["a"], at_s=30.0)
    (_, nothing, lost), (again_s, plan, _) = replayed_rows(tape, *gone, back)
    assert (nothing, "lost a, b, c" in lost, plan) == ("", True, "r0: a[0:8)")
    assert 30 <= again_s <= 31


def test_a_wish_that_cannot_be_met_is_told_once() -> None:
    tape = Tape()
    tape.played.run(5)
    impossible = Deployment(deployment="cats", model="net", pins=(Pin(device="nobody", first=0, last=1),))
    heard = [replace(one, message=impossible) if one.topic is DEPLOYMENT else one for one in tape.heard]
    rows = [row for row in replay(heard).rows if row.who == "replayed"]
    assert [row.plan for row in rows] == [""]
    assert "nobody" in rows[0].why


def test_what_submitters_saw_is_averaged_over_their_answers() -> None:
    tape = Tape()
    for number, (answers, latency_ms) in enumerate([(10, 20.0), (30, 40.0)]):
        seen = Seen(
            submitter="s", deployment="cats", generation=1, period_s=1.0,
            routes=(RouteSeen(route=0, answers=answers, latency_ms=latency_ms),),
        )  # fmt: skip
        tape.heard.append(Heard(6.0 + number, SEEN, {"deployment": "cats", "submitter": "s"}, seen))
    tally = replay(tape.heard).tallies["cats"]
    assert (tally.answers, tally.measured_latency_ms) == (40, 35.0)


def test_a_gap_of_a_year_is_skipped(slowed: Tape) -> None:
    late = [*slowed.heard, Heard(360 * 86_400.0, DEPLOYMENT, {"deployment": "cats"}, None)]
    assert replay(late).seconds == 360 * 86_400.0


def test_an_unknown_policy_is_refused(slowed: Tape) -> None:
    with pytest.raises(UnknownPolicyError):
        replay(slowed.heard, policy="guess")


def test_the_command_shows_both_stories_and_writes_json(slowed: Tape, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(header_line(1.0) + b"".join(map(line_of, slowed.heard)))
    shown = CliRunner().invoke(app, ["replay", str(file), "--policy", "best-single"])
    assert shown.exit_code == 0, shown.output
    for text in ("best-single", "really", "r0: a[0:8)", "0.25 cores", "saves"):
        assert text in shown.output
    written = CliRunner().invoke(app, ["replay", str(file), "--json", "-"])
    assert json.loads(written.stdout)["deployments"]["cats"]["replans"] == 1


def test_the_command_says_what_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(header_line(1.0) + b"{}\n")
    broken = CliRunner().invoke(app, ["replay", str(file)])
    assert broken.exit_code == 2
    assert "line 2" in broken.output
    assert CliRunner().invoke(app, ["replay", str(tmp_path / "none")]).exit_code == 2
    assert CliRunner().invoke(app, ["replay", str(file), "--policy", "guess"]).exit_code == 2
    file.write_bytes(header_line(1.0))
    assert CliRunner().invoke(app, ["replay", str(file)]).exit_code == 1
