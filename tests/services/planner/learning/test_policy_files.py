"""Trained policies in files: what is saved comes back, and nothing else gets in."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.learning.scene import fleet_world
from services.planner.learning.actor import Actor, ActorShapeError
from services.planner.learning.arms import ARMS_MOST
from services.planner.learning.observation import FEATURES, OBSERVED
from services.planner.learning.policy_file import (
    PolicyFileError,
    PolicyHeader,
    TrainedPolicy,
    load_policy,
    save_policy,
)
from services.planner.learning.policy_fits import OtherFleetError, OtherModelError, check_fits, members

WORLD = fleet_world(1)


def some_actor(seed: int = 0, hidden: int = 16) -> Actor:
    draw = np.random.default_rng(seed)
    shapes = [(hidden, OBSERVED), (ARMS_MOST, hidden)]
    return Actor(
        tuple((draw.standard_normal(shape).astype(np.float32), np.zeros(shape[0], np.float32)) for shape in shapes)
    )


def header(**changes: Any) -> PolicyHeader:
    usual = {
        "model": WORLD.card.name, "card_sha": WORLD.card.sha256, "objective": "latency",
        "fleet": members(WORLD.facts), "features": FEATURES, "plans": ARMS_MOST, "seed": 7, "steps": 1000,
        "trained_s": 1.5, "software": "by hand",
    }  # fmt: skip
    return PolicyHeader(**{**usual, **changes})


def trained(**changes: Any) -> TrainedPolicy:
    return TrainedPolicy(header(**changes), some_actor(), "0" * 64)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    save_policy(path, header(), some_actor())
    loaded = load_policy(path)
    assert loaded.header == header()
    for (weights, biases), (others, their) in zip(some_actor().layers, loaded.actor.layers, strict=True):
        np.testing.assert_array_equal(weights, others)
        np.testing.assert_array_equal(biases, their)
    check_fits(loaded, WORLD.card, "latency", WORLD.facts, transfer=False)


def test_a_file_is_read_once_so_that_its_hash_and_its_numbers_are_of_the_same(tmp_path: Path) -> None:
    path, pipe = tmp_path / "policy.npz", tmp_path / "pipe"
    save_policy(path, header(), some_actor())
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(path.read_bytes(),), daemon=True)
    writing.start()
    assert load_policy(pipe).sha256 == load_policy(path).sha256
    writing.join(timeout=10)


def arrays_of(**changes: Any) -> dict[str, Any]:
    text = json.loads(header().model_dump_json(exclude_none=True))
    arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(text).encode(), np.uint8)}
    for number, (weights, biases) in enumerate(some_actor().layers):
        arrays |= {f"w{number}": weights, f"b{number}": biases}
    arrays |= changes
    return {name: value for name, value in arrays.items() if value is not None}


def header_with(**changes: Any) -> Any:
    text = {**json.loads(header().model_dump_json(exclude_none=True)), **changes}
    return np.frombuffer(json.dumps(text).encode(), np.uint8)


WRONG = {
    "no header": (arrays_of(header=None), "it has no header"),
    "a header of floats": (arrays_of(header=np.zeros(4)), "it has no header"),
    "a header that is no JSON": (arrays_of(header=np.frombuffer(b"{", np.uint8)), "header is wrong"),
    "an unknown field": (arrays_of(header=header_with(more=1)), "more"),
    "another version": (arrays_of(header=header_with(version=2)), "version"),
    "no fleet": (arrays_of(header=header_with(fleet=[])), "fleet"),
    "other features": (arrays_of(header=header_with(features=["luck"])), "another description of plans"),
    "a layer is missing": (arrays_of(w1=None), "w0, b0"),
    "a layer is called otherwise": (arrays_of(w1=None, v1=np.zeros((ARMS_MOST, 16), np.float32)), "w1 is missing"),
    "layers that do not fit": (arrays_of(w1=np.zeros((ARMS_MOST, 15), np.float32)), "layer 1 has weights"),
    "too few scores": (arrays_of(w1=np.zeros((2, 16), np.float32), b1=np.zeros(2, np.float32)), "scores 2 plans"),
    "doubles": (arrays_of(w1=np.zeros((ARMS_MOST, 16))), "float32"),
    "no number": (arrays_of(b1=np.full(ARMS_MOST, np.nan, np.float32)), "no numbers"),
    "too much": (arrays_of(w1=np.zeros((1 << 23,), np.float32)), "unpacks to more than"),
    "objects": (arrays_of(w1=np.array([{}], dtype=object)), "no .npz of plain arrays"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_policy_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    arrays, why = WRONG[name]
    path = tmp_path / "policy.npz"
    np.savez_compressed(path, **arrays)
    with pytest.raises(PolicyFileError, match=why) as caught:
        load_policy(path)
    assert str(path) in str(caught.value)


@settings(max_examples=40)
@given(st.binary(max_size=400), st.integers(0, 2000))
def test_damaged_files_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("p") / "policy.npz"
    save_policy(path, header(), some_actor())
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    with contextlib.suppress(PolicyFileError):
        load_policy(path)


def test_a_file_that_is_not_there_or_far_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="cannot be read"):
        load_policy(tmp_path / "none.npz")
    large = tmp_path / "large.npz"
    with large.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(PolicyFileError, match="17 MB"):
        load_policy(large)


def test_a_policy_of_another_model_or_objective_is_refused_and_may_be_transferred() -> None:
    other = trained(card_sha="1" * 64, model="vgg16")
    with pytest.raises(OtherModelError, match="for vgg16"):
        check_fits(other, WORLD.card, "latency", WORLD.facts, transfer=False)
    check_fits(other, WORLD.card, "latency", WORLD.facts, transfer=True)
    for transfer in (False, True):
        with pytest.raises(OtherModelError, match="objective latency, and throughput is wanted"):
            check_fits(trained(), WORLD.card, "throughput", WORLD.facts, transfer=transfer)


def test_a_policy_of_another_fleet_is_refused_and_says_how_it_differs() -> None:
    fewer, turned = WORLD.facts[:2], tuple(reversed(WORLD.facts))
    quicker = list(WORLD.facts)
    quicker[0] = replace(
        quicker[0], profile=quicker[0].profile.model_copy(update={"block_ms": tuple([0.1] * len(WORLD.card.blocks))})
    )
    smaller = list(WORLD.facts)
    smaller[0] = replace(smaller[0], profile=smaller[0].profile.model_copy(update={"capacity_cores": 1.0}))
    for facts, why in (
        (fewer, "trained on d0, d1, d2, and there are d0, d1"),
        (turned, "there are d2, d1, d0"),
        (quicker, "the model took d0"),
        (smaller, "d0 had 4 cores, and has 1"),
    ):
        with pytest.raises(OtherFleetError, match=why):
            check_fits(trained(), WORLD.card, "latency", facts, transfer=False)
        check_fits(trained(), WORLD.card, "latency", facts, transfer=True)


def test_a_network_without_layers_is_none() -> None:
    with pytest.raises(ActorShapeError):
        Actor(())
