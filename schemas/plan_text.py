"""Plans read from text: routes as they are printed, stage ids as they stand in topics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, get_args

from schemas.plan import Band, CodecName, Route, SideBySide, Stage


class PlanTextError(ValueError):
    """A route's text that does not read like `r0: pi4[0:12) -u8-> nano[12:19)`."""


def stage_places(text: str) -> tuple[int, int]:
    """The route and the place in it of a stage id; the inverse of `stage_id`.

    Raises:
        PlanTextError: the text is not a stage id.
    """
    match = re.fullmatch(r"r([0-9]{1,4})s([0-9]{1,4})", text)
    if match is None:
        raise PlanTextError(f"{text!r} is not a stage id like 'r0s2'")
    return int(match[1]), int(match[2])


_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_STAGE: Final = re.compile(rf"(?P<device>{_NAME})\[(?P<first>\d+):(?P<last>\d+)\)")
_ARROW: Final = re.compile(r"\s*-(?:(?P<codec>[a-z0-9+]+)-)?>\s*")
_BAND: Final = re.compile(rf"\s*(?P<device>{_NAME}) rows (\d+):(\d+) from (\d+):(\d+)\s*(?P<then>[+)])")
_SHARED: Final = re.compile(r"\[0:(?P<last>\d+)\)")


def parse_route(text: str) -> Route:
    """Read a route as printed; a leading `r0:` may be there or not.

    Raises:
        PlanTextError: the text is malformed; says at which character.
        pydantic.ValidationError: the stages do not follow one another.
    """
    rest = re.sub(r"^\s*r\d+:\s*", "", text).rstrip()
    reading = _Reading(text, rest, len(text.rstrip()) - len(rest))
    shared = _side_by_side(reading) if rest.startswith("(") else None
    stages: list[Stage] = []
    while True:
        match = reading.expect(_STAGE, "device[first:last)")
        done = reading.position == len(rest)
        codec = "fp32" if done else _codec(reading.expect(_ARROW, "->")["codec"] or "fp32")
        stages.append(Stage(device=match["device"], first=int(match["first"]), last=int(match["last"]), codec=codec))
        if done:
            return Route(side_by_side=shared, stages=tuple(stages))


@dataclass
class _Reading:
    """A text being read from left to right."""

    text: str
    rest: str
    offset: int
    position: int = 0

    def expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.match(self.rest, self.position)
        if match is None:
            raise PlanTextError(f"expected {what!r} at character {self.offset + self.position} of {self.text!r}")
        self.position = match.end()
        return match


def _side_by_side(reading: _Reading) -> SideBySide:
    reading.position += 1
    bands: list[Band] = []
    then = "+"
    while then == "+":
        match = reading.expect(_BAND, "device rows first:last from first:last")
        rows = [int(number) for number in match.groups()[1:5]]
        bands.append(Band(device=match["device"], gives=(rows[0], rows[1]), takes=(rows[2], rows[3])))
        then = match["then"]
    last = int(reading.expect(_SHARED, "[0:last)")["last"])
    codec = _codec(reading.expect(_ARROW, "->")["codec"] or "fp32")
    return SideBySide(last=last, bands=tuple(bands), codec=codec)


def _codec(text: str) -> CodecName:
    for name in get_args(CodecName):
        if name == text:
            return name  # type: ignore[no-any-return]
    raise PlanTextError(f"no codec {text!r}; there are {', '.join(get_args(CodecName))}")
