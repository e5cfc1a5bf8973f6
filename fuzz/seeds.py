"""The corpus that fuzzing starts from: a few valid inputs of every kind. `python -m fuzz.seeds` writes it anew.

Written once and kept in the repository: hypothesis may make up other messages in another version.
"""

from __future__ import annotations

import hashlib
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.errors import NonInteractiveExampleWarning

from broker.packet import PUBACK, PUBLISH, Envelope, publish_head, variable_length
from fuzz.made_up import frames, payloads
from fuzz.targets import TARGETS
from schemas import topics

CORPUS: Final = Path(__file__).parent / "corpus"
_EACH: Final = 3
_LONGEST: Final = 2000


def seeds(target: str) -> Iterator[bytes]:
    """Valid inputs of one target."""
    match target:
        case "topics":
            for topic in topics.ALL:
                for payload in _some(payloads(topic)):
                    yield topic.template.encode() + b"\n" + payload
        case "frame":
            yield from _some(frames(), 4 * _EACH)
        case "packets":
            for cut, stream in enumerate(_streams()):
                yield bytes([37 * cut % 256]) + stream
        case "wire":
            yield _CONNACK
            yield from (_CONNACK + stream for stream in _streams())


_CONNACK: Final = bytes.fromhex("200b000008 210014 2700100000")
_SUBACK: Final = bytes.fromhex("900400010001")


def _streams() -> Iterator[bytes]:
    """Packets as brokers send them."""
    envelope = Envelope("application/json", 30, b"request-1", "stageline/v1/answer/s", "00-0af7-b7ad-01")
    publish = b""
    for qos, size in ((0, 0), (1, 3), (1, 300)):
        head = publish_head("stageline/v1/a", size, qos=qos, retain=False, mid=7, envelope=envelope)  # type: ignore[arg-type]
        publish += bytes(head) + bytes(size)
    subscribed = b"\x00\x01t\x02\x0b\x05payload"
    publish += bytes([PUBLISH]) + variable_length(len(subscribed)) + subscribed
    puback = bytes([PUBACK, 2, 0, 7]) + bytes([PUBACK, 4, 0, 7, 0x10, 0])
    yield from (publish, puback, _SUBACK + puback + publish, b"\xd0\x00" + puback, b"\xe0\x02\x8e\x00")


def _some(strategy: st.SearchStrategy[Any], count: int = _EACH) -> list[bytes]:
    """A few examples, short ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        examples = (strategy.example() for _ in range(20 * count))
        return [example for example in examples if len(example) <= _LONGEST][:count]


def name_of(data: bytes) -> str:
    """What an input is kept as."""
    return hashlib.sha256(data).hexdigest()[:16]


def main() -> None:
    """Write the corpus of every target; what fuzzing has found stays."""
    random.seed(0)
    for target in TARGETS:
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for data in seeds(target):
            (folder / name_of(data)).write_bytes(data)
        sys.stderr.write(f"{folder}: {len(list(folder.iterdir()))} inputs\n")


if __name__ == "__main__":
    main()
