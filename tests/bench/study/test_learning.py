"""The learner is asked and paid as the model says, and learns at all; how well is the study's to say."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bench.study.exact import exact
from bench.study.learning.environment import ManySharedEdges, SharedEdge
from bench.study.learning.training import Lessons, train
from bench.study.learning.ways import PaperWay, SplitsWay, Way, at_first
from bench.study.learning.world import DEAREST, Instances, draw, reference, rewards, weighted
from bench.study.methods import Table
from bench.study.problem import Point, Problem, decide

BOTH = (PaperWay(), SplitsWay())


class FourDecisions(PaperWay):
    decisions = 4


TINY = Problem(
    power_w=np.array([1.0, 2.0]), transmit_w=np.array([0.1, 0.1]),
    local_s=np.array([[0.0, 0.5, 1.0], [0.0, 0.2, 0.4]]), sent_mbit=np.array([[3.0, 9.0, 0.0], [3.0, 9.0, 0.0]]),
    edge_gflop=np.array([[5.0, 2.0, 0.0], [5.0, 2.0, 0.0]]), edge_gflops=20.0,
)  # fmt: skip


@pytest.mark.parametrize("way", BOTH, ids=lambda way: way.name)
def test_the_environment_keeps_gymnasiums_contract(way: Way, table: Table) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker's advice on rendering and wrappers
        check_env(SharedEdge(table.problem, way), skip_render_check=True)


@pytest.mark.parametrize("way", BOTH, ids=lambda way: way.name)
def test_what_is_seen_stays_within_its_bounds(way: Way, table: Table) -> None:
    rng = np.random.default_rng(0)
    asked = draw(rng, 200)
    splits = rng.integers(0, table.problem.splits, (200, table.problem.devices))
    _, even = at_first(table.problem, 200)
    seen = way.observe(table.problem, asked, splits, even)
    assert seen.shape == (200, way.sees(table.problem))
    assert seen.dtype == np.float32
    assert np.abs(seen).max() <= 1


def test_the_papers_action_is_a_split_and_a_share_for_each_device() -> None:
    actions = np.array([[-1.0, 1.0, 0.0, 1.0], [-1.0, 0.1, 0.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    splits, shares = PaperWay().decode(TINY, actions)
    assert splits.tolist() == [[0, 2], [0, 1], [2, 2]]
    assert shares == pytest.approx(np.array([[1.0, 0.0], [1 / 3, 2 / 3], [0.0, 0.0]]))


def test_splits_alone_get_the_best_shares() -> None:
    splits, shares = SplitsWay().decode(TINY, np.array([[0, 1], [2, 2]]))
    assert splits.tolist() == [[0, 1], [2, 2]]
    assert shares[0] == pytest.approx(np.sqrt([5, 2]) / np.sqrt([5, 2]).sum())
    assert shares[1].tolist() == [0, 0]


def test_rewards_are_minus_the_cost_in_those_of_even_shares_up_to_a_bound() -> None:
    asked = Instances(np.array([2.0, 2.0]), np.array([0.5, 0.5]))
    splits, shares = np.array([[0, 0], [0, 0]]), np.array([[0.5, 0.5], [1e-9, 1 - 1e-9]])
    cost = decide(TINY, Point(2.0, 0.5), [0, 0], [0.5, 0.5]).cost
    assert weighted(TINY, asked, splits, shares)[0] == pytest.approx(cost)
    paid = rewards(TINY, asked, splits, shares)
    assert paid[0] == pytest.approx(-cost / reference(TINY, asked)[0])
    assert paid[1] == -DEAREST


def test_episodes_of_many_questions_end_together_and_go_on_with_others() -> None:
    many = ManySharedEdges(TINY, FourDecisions(), together=3, seed=0)
    first = many.reset()
    for step in range(1, 5):
        seen, paid, ended, infos = many.step(np.zeros((3, 4), dtype=np.float32))
        assert ended.tolist() == [step == 4] * 3
        assert paid.dtype == np.float32
    assert seen.shape == first.shape
    assert not np.array_equal(seen, first)
    assert all("terminal_observation" in info for info in infos)
    many.close()


def test_a_short_training_comes_near_the_best_decisions_and_can_be_kept(tmp_path: Path) -> None:
    told: list[int] = []
    lessons = Lessons(decisions=16_384, together=64, batch=256, rate=5e-3, width=16)
    policy = train(TINY, SplitsWay(), lessons, 0, told.append)
    points = [Point(bandwidth, w) for bandwidth in (1.0, 5.0, 20.0, 50.0) for w in (0.2, 0.5, 0.8)]
    over = [
        found.cost / exact(TINY, point).cost - 1 for found, point in zip(policy.decide(points), points, strict=True)
    ]
    assert min(over) >= -1e-9
    assert float(np.mean(over)) < 0.2
    assert told[-1] == 16_384
    policy.save(tmp_path / "kept" / "policy.zip")
    assert (tmp_path / "kept" / "policy.zip").stat().st_size > 0


def test_the_papers_way_trains_too_and_leaves_nothing_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    policy = train(
        TINY, PaperWay(), Lessons(decisions=1024, together=32, batch=128, epochs=1, width=8), 0, lambda _: None
    )
    (found,) = policy.decide([Point(5.0, 0.5)])
    assert found.cost >= exact(TINY, Point(5.0, 0.5)).cost * (1 - 1e-9)
    assert not list(tmp_path.iterdir())
