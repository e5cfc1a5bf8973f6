"""`stageline learn`, `learn train` and `learn show`, and the worlds that recordings give."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from simulations.simulated_fleet import Said, Simulation, Truth
from typer.testing import CliRunner, Result

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.accuracy import RouteSeen, Seen
from schemas.deployment import Deployment
from schemas.learning import Learning, TriedPlan
from schemas.topics import PLAN_LEARNING, SEEN
from services.planner.facts import HubFacts
from services.planner.learning.policy_file import load_policy
from stageline.cli import app
from stageline.recorded_worlds import NoWorldError, recorded_worlds
from stageline.recording import Heard, header_line, line_of

runner = CliRunner()


def tape(*, slower_ms: float = 0.0, seconds: int = 60, **wanted: object) -> list[Heard]:
    """A simulated fleet, all that it said, and a submitter for whom its route took so much longer than predicted."""
    heard: list[Heard] = []

    def keep(now_s: float, said: Said) -> None:
        heard.append(Heard(now_s, *said))

    wish = Deployment.model_validate({"deployment": "cats", "model": "net", **wanted})
    truth = {"a": Truth(2.0), "b": Truth(3.0), "c": Truth(5.0)}
    simulation = Simulation(truth, wish, seed=7, rate_rps=10, noise=0.05, on_said=keep)
    for _ in range(seconds):
        simulation.run(1)
        plan = simulation.plan
        assert plan is not None
        predicted = plan.routes[0].predicted
        assert predicted is not None
        route = RouteSeen(route=0, answers=10, latency_ms=predicted.latency_ms + slower_ms)
        seen = Seen(submitter="s", deployment="cats", generation=plan.generation, period_s=1.0, routes=(route,))
        heard.append(Heard(simulation.now_s, SEEN, {"deployment": "cats", "submitter": "s"}, seen))
    return heard


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "monday.jsonl"
    path.write_bytes(header_line(1.0) + b"".join(map(line_of, tape())))
    return path


@pytest.fixture(scope="module")
def policy(file: Path) -> Path:
    path = file.parent / "policy.npz"
    shown = runner.invoke(app, ["learn", "train", str(file), "--out", str(path), "--steps", "250", "--seed", "5"])
    assert shown.exit_code == 0, shown.output
    assert "a policy for net on a, b, c, trained with 250 decisions" in shown.output
    return path


def test_a_recording_gives_worlds_of_its_fleet_and_how_far_off_its_links_were() -> None:
    found = recorded_worlds(tape(slower_ms=16.0), hub=HubFacts())
    assert len(found.worlds) >= 4
    assert [one.name for one in found.worlds[0].facts] == ["a", "b", "c"]
    links_ms = 2 * 100_000 * 8 / 200e3  # in and out of a, at 200 Mbit/s
    assert found.centre["a"].up == pytest.approx(1 + 16.0 / links_ms, rel=0.35)
    assert "b" not in found.centre


def test_a_recording_without_what_can_be_learned_says_so() -> None:
    with pytest.raises(NoWorldError, match="nothing that is served for latency or throughput"):
        recorded_worlds(tape(seconds=20, objective="energy"), hub=HubFacts())
    with pytest.raises(NoWorldError, match="no deployment 'dogs' to learn from in this recording: it has cats"):
        recorded_worlds(tape(seconds=20), "dogs", hub=HubFacts())


def test_a_policy_is_trained_from_a_recording_and_shown(policy: Path) -> None:
    trained = load_policy(policy)
    assert (trained.header.seed, trained.header.steps, trained.header.model) == (5, 250, "net")
    shown = runner.invoke(app, ["learn", "show", str(policy), "--json", "-"])
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    assert [one["device"] for one in document["fleet"]] == ["a", "b", "c"]
    assert document["transferred"] is None
    assert "a " in runner.invoke(app, ["learn", "show", str(policy)]).output


def test_training_goes_on_from_another_policy(policy: Path, file: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.npz"
    arguments = ["learn", "train", str(file), "--out", str(more), "--steps", "250", "--from", str(policy)]
    written = runner.invoke(app, [*arguments, "--json", "-"])
    assert written.exit_code == 0, written.output
    document = json.loads(written.stdout)
    assert document["transferred"] == load_policy(policy).sha256
    assert document["curve"][-1]["steps"] == 250


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["learn", "train"], "a recording, or --fleet FILE"),
        (["learn", "train", "FILE", "--fleet", "x.toml"], "a recording, or --fleet FILE"),
        (["learn", "train", "--fleet", "x.toml"], "--model NAME"),
        (["learn", "train", "--fleet", "x.toml", "--model", "net"], "x.toml"),
        (["learn", "train", "FILE", "--objective", "energy"], "--objective energy does not go with"),
        (["learn", "train", "FILE", "--model", "net"], "a recording says it itself; leave it out"),
        (["learn", "train", "--fleet", "x.toml", "--model", "net", "-d", "cats"], "devices on paper have none"),
        (["learn", "train", "none.jsonl"], "none.jsonl"),
        (["learn", "train", "JUNK"], "no recording"),
        (["learn", "train", "FILE", "--deployment", "dogs"], "it has cats"),
        (["learn", "train", "FILE", "--from", "JUNK"], "no trained policy"),
        (["learn", "train", "FILE", "--out", "/no/such/folder/p.npz"], "no folder"),
        (["learn", "train", "FILE", "--steps", "3"], "--steps"),
        (["learn", "show", "JUNK"], "no trained policy"),
        (["learn", "show", "none.npz"], "none.npz"),
    ],
)
def test_what_is_to_be_mended_is_one_line(arguments: list[str], says: str, file: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk\n")
    places = {"FILE": str(file), "JUNK": str(junk)}
    result = runner.invoke(app, [places.get(one, one) for one in arguments])
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert len(result.stderr.splitlines()) == 1


def test_a_policy_file_with_objects_in_it_is_refused_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, header=np.array([{"a": print}], dtype=object))
    result = runner.invoke(app, ["learn", "show", str(path)])
    assert result.exit_code == 2
    assert "no .npz of plain arrays" in " ".join(result.output.split())


async def test_what_was_learned_is_shown_live(broker: EmbeddedBroker, root: str) -> None:
    def ask(*more: str) -> Result:
        return runner.invoke(app, ["learn", *more, "--broker", broker.url, "--root", root])

    nothing = await asyncio.to_thread(ask)
    assert "Nothing learns" in nothing.output
    exact, other = "r0: fast[0:12)", "r0: slow[0:12)"
    tried = (
        TriedPlan(plan=exact, predicted=60.0, measured=99.0, samples=4.0),
        TriedPlan(plan=other, predicted=70.0, measured=71.0, samples=3.0, gain=0.28, gain_at_least=0.1, pairs=3.7),
    )
    told = Learning(
        deployment="cats", generation=4, policy="bandit", state="acting", serving=other, by="learned", decisions=12,
        explored=4, explored_share=0.33, extra_cost=0.01, regret=0.04, gain=0.28, tried=tried,
    )  # fmt: skip
    async with Bus(broker.url, name="planner", root=root) as bus:
        await bus.publish(PLAN_LEARNING, told, deployment="cats")
        shown = await asyncio.to_thread(ask)
        assert shown.exit_code == 0, shown.output
        for text in ("cats (bandit, acting)", "12 decisions", "slow[0:12)", "28.0%", "served"):
            assert text in shown.output
        document = json.loads((await asyncio.to_thread(ask, "cats", "--json", "-")).stdout)
        assert document[0]["tried"][1]["gain"] == 0.28
        missing = await asyncio.to_thread(ask, "dogs")
        assert (missing.exit_code, "those that do: cats" in missing.output) == (2, True)
