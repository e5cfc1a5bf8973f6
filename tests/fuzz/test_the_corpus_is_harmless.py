"""Every input that fuzzing starts from, and every one it ever found, is decoded or refused as promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.__main__ import BUILD
from fuzz.seeds import CORPUS
from fuzz.targets import TARGETS, BrokenPromiseError, decode, split
from schemas import topics
from schemas.topics import Topic

HERE = Path(__file__).parents[2]


def inputs(target: str) -> list[Path]:
    """The corpus, and what the last runs here have found."""
    return sorted((CORPUS / target).iterdir()) + sorted((HERE / BUILD / target).glob("crash-*"))


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_is_decoded_or_refused(target: str) -> None:
    known = inputs(target)
    assert len(known) >= 5
    for path in known:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path.relative_to(HERE)} broke a promise") from error


def test_the_corpus_has_valid_messages_of_every_topic() -> None:
    valid: set[Topic[object]] = set()
    for path in inputs("topics"):
        topic, payload = split(path.read_bytes())
        if decode(topic, payload) is not None:
            valid.add(topic)
    assert valid == set(topics.ALL), "run: python -m fuzz.seeds"


def test_a_target_notices_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics.Topic, "decode", lambda *_: (_ for _ in ()).throw(topics.BadMessageError("odd", "x")))
    with pytest.raises(BrokenPromiseError, match="odd"):
        TARGETS["topics"](b"hub/status\n{}")
