"""A recording of a fleet: what devices, planner and submitters said, with times, one JSON object a line.

    {"stageline": "recording", "version": 1, "began": 1767225600.0, "software": "0.1.0"}
    {"t": 0.012, "topic": "device/pi4/telemetry", "kept": true, "message": {...}}
    {"t": 3.140, "topic": "plan/cats/current", "message": null}

`t` is seconds since the recording began, `topic` the address below the root, `message` what travels there (null: it was
removed), and `kept` says that the broker had it from before. Tensors and weights are not recorded.

Recordings come from anywhere, so reading them trusts nothing: lines and the whole are bounded, and every message is
checked like one from the bus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

from schemas.decoding import MOST_CONTROL_BYTES, BadMessageError
from schemas.topics import (
    DEPLOYMENT,
    DEVICE_TIMING,
    PLAN_ACCURACY,
    PLAN_CURRENT,
    PLAN_DECISION,
    PLAN_LEARNING,
    PLAN_NEXT,
    SEEN,
    Topic,
)
from services.planner.fleet import FLEET_TOPICS

RECORDED_TOPICS: Final[tuple[Topic[Any], ...]] = (
    *FLEET_TOPICS, DEVICE_TIMING, SEEN, DEPLOYMENT, PLAN_NEXT, PLAN_DECISION, PLAN_CURRENT, PLAN_ACCURACY,
    PLAN_LEARNING,
)  # fmt: skip
"""A decision comes before its plan, as the planner publishes them."""
VERSION: Final = 1
LARGEST_BYTES: Final = 1 << 30
"""Of a recording: about a day of ten devices."""
_LONGEST_LINE: Final = MOST_CONTROL_BYTES + 4096
_LONGEST_S: Final = 366 * 86_400.0


class RecordingError(ValueError):
    """A file that is no recording, or a broken one; says which line and what to do."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a recording."""

    at_s: float
    """Since the recording began."""
    topic: Topic[Any]
    parameters: Mapping[str, str]
    message: Any | None
    """None: it was removed."""
    kept: bool = False
    """The broker had it from before."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

    began: float
    """Unix time."""
    software: str = ""


def header_line(began: float) -> bytes:
    """The first line of a recording that began at that Unix time."""
    said = {"stageline": "recording", "version": VERSION, "began": round(began, 3), "software": version("stageline")}
    return json.dumps(said).encode() + b"\n"


def line_of(heard: Heard) -> bytes:
    """One message as a line."""
    address = heard.topic.address(**heard.parameters)
    message = b"null" if heard.message is None else heard.topic.encode(heard.message)
    kept = b', "kept": true' if heard.kept else b""
    return b'{"t": %.3f, "topic": "%s"%s, "message": %s}\n' % (heard.at_s, address.encode(), kept, message)


class Recording:
    """A recording in a file. Iterating reads it from the beginning, message by message.

    A last line without an end is what remains of a recorder that was killed: it is left out, and `cut_short` is set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_short = False
        try:
            nbytes = path.stat().st_size
            if nbytes > LARGEST_BYTES:
                raise RecordingError(
                    f"{path} has {nbytes >> 20} MB, and {LARGEST_BYTES >> 20} MB is the most that is read: "
                    "record less at a time (`stageline record FILE --for SECONDS`)"
                )
            with path.open("rb") as file:
                self.header = _header(path, file.readline(_LONGEST_LINE))
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error

    def __iter__(self) -> Iterator[Heard]:
        with self.path.open("rb") as file:
            file.readline(_LONGEST_LINE)
            before_s = 0.0
            for number, line in enumerate(_lines(file), 2):
                if not line.endswith(b"\n"):
                    if len(line) >= _LONGEST_LINE:
                        raise self._broken(number, f"longer than {_LONGEST_LINE} bytes")
                    self.cut_short = True
                    return
                try:
                    heard = _heard(line)
                except ValueError as error:
                    raise self._broken(number, str(error)) from error
                if heard.at_s < before_s:
                    raise self._broken(number, f"t went back from {before_s:.3f} to {heard.at_s:.3f}")
                before_s = heard.at_s
                yield heard

    def _broken(self, number: int, why: str) -> RecordingError:
        return RecordingError(f"{self.path}, line {number}: {why}. Delete the line, or record anew")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        yield line


def _header(path: Path, line: bytes) -> Header:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("stageline") != "recording":
        raise RecordingError(f"{path} is no recording: `stageline record FILE` makes them")
    if said.get("version") != VERSION:
        raise RecordingError(
            f"{path} is a recording of version {said.get('version')!r}, and this stageline reads version {VERSION}: "
            "replay it with the stageline that recorded it"
        )
    began = said.get("began")
    if isinstance(began, bool) or not isinstance(began, (int, float)) or not 0 <= began < 1e11:
        raise RecordingError(f"{path}, line 1: `began` is no Unix time. Put in when it was recorded, or record anew")
    return Header(float(began), str(said.get("software", ""))[:64])


def _heard(line: bytes) -> Heard:
    """A checked line.

    Raises:
        ValueError: says what is wrong with it.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({error})") from error
    if not isinstance(said, dict) or not said.keys() <= {"t", "topic", "kept", "message"}:
        raise ValueError("not an object of t, topic, kept and message")
    at_s, address = said.get("t"), said.get("topic")
    if isinstance(at_s, bool) or not isinstance(at_s, (int, float)) or not 0 <= at_s <= _LONGEST_S:
        raise ValueError("t is no time in seconds")
    if not isinstance(address, str) or "message" not in said:
        raise ValueError("topic or message is missing")
    topic, parameters = _place(address)
    message = said["message"]
    if message is not None:
        try:
            message = topic.decode(json.dumps(message).encode())
        except BadMessageError as error:
            raise ValueError(f"{address}: {error}") from error
    return Heard(float(at_s), topic, parameters, message, said.get("kept") is True)


def _place(address: str) -> tuple[Topic[Any], dict[str, str]]:
    for topic in RECORDED_TOPICS:
        parameters = topic.parse(address)
        if parameters is not None:
            return topic, parameters
    raise ValueError(f"{address[:200]!r} is no topic that is recorded")
