"""Payloads that cost as much memory as possible for their length. `python -m fuzz.bombs` decodes them all and measures.

Prints how many there were and by how many MB resident memory has grown at its peak; the worst go to stderr.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from typing import Any, Final

from schemas import topics
from schemas.frame import DEFAULT_LIMITS
from schemas.topics import BadMessageError, Topic

Bomb = tuple[Topic[Any], bytes]

_SHA: Final = b"0" * 64
_MANY_ITEMS: Final = (
    b"0,",
    b"{},",
    b"[],",
    b'"",',
    b"null,",
    b'{"tensors":[]},',
    b'{"sha256":"%s","nbytes":0},' % _SHA,
)
_MANY_FIELDS: Final = (b'"":0,', b'"a":{},', b'"a":"",')
_MANY_CHARACTERS: Final = (b"x", b"\\u0041", b"\\n")
_MANY_MSGPACK: Final = (b"\x80", b"\x90", b"\xc0", b"\xa0\x80", b"\xde\x00\x40" + b"\xa1a\x80" * 64, b"\xa1a")


def bombs() -> Iterator[Bomb]:
    """Of every message: many items, fields or characters, in some of its fields, as long as its topic allows."""
    for topic in {topic.payload: topic for topic in topics.ALL}.values():
        match topic.encoding:
            case "json":
                yield from _json(topic)
            case "msgpack":
                yield from _msgpack(topic)
            case "frame":
                yield from _frames(topic)


def _json(topic: Topic[Any]) -> Iterator[Bomb]:
    fields = list(topic.payload.model_fields)
    names = [b""] + [b'{"%s":' % name.encode() for name in dict.fromkeys((fields[0], fields[-1]))]
    for name in names:
        end = b"}" if name else b""
        for each in _MANY_ITEMS:
            yield topic, _filled(topic, name + b"[", each, b"0]" + end)
        for each in _MANY_FIELDS:
            yield topic, _filled(topic, name + b"{", each, b'"":0}' + end)
            yield topic, _filled(topic, name + b"[{", each, b'"":0}]' + end)
        for each in _MANY_CHARACTERS:
            yield topic, _filled(topic, name + b'"', each, b'"' + end)
            yield topic, _filled(topic, name + b'{"', each, b'":0}' + end)
        for each in (b"[", b'{"a":'):
            yield topic, _filled(topic, name, each, b"")


def _msgpack(topic: Topic[Any]) -> Iterator[Bomb]:
    for each in _MANY_MSGPACK:
        yield topic, _filled(topic, b"\xdf\x7f\xff\xff\xff", each, b"")
        yield topic, _filled(topic, b"\x81\xa4data\xdd\x00\x0f\xff\xff", each, b"")


def _frames(topic: Topic[Any]) -> Iterator[Bomb]:
    room = DEFAULT_LIMITS.header_bytes
    for each in _MANY_MSGPACK:
        inner = each * (room // len(each))
        for name in (b"\xa7tensors", b"\xa5trace", b"\xa7request", b"\xa1a"):
            yield topic, b"\x91\x81" + name + b"\xdd\x00\x03\xff\xff" + inner
            yield topic, b"\x91\x81" + name + b"\x9f" + (b"\xdc\x20\x00" + inner[:8192]) * 14
        scales = b"\x91\x81\xa7tensors\x9f" + (b"\x81\xa5scale\xdc\x20\x00" + inner[:8192]) * 14
        yield topic, scales
    yield topic, b"\x91" + b"\x91" * room


def _filled(topic: Topic[Any], begin: bytes, each: bytes, end: bytes) -> bytes:
    return begin + each * ((topic.most_bytes - len(begin) - len(end)) // len(each)) + end


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Decode all of them in this process."""
    for topic in topics.ALL:  # what is set up at first use is no part of it
        _decode(topic, b"{}")
    growths: list[tuple[float, str, bytes]] = []
    start = _peak_mb()
    for topic, payload in bombs():
        before = _peak_mb()
        _decode(topic, payload)
        growths.append((_peak_mb() - before, topic.template, payload[:48]))
    for grown, template, payload in sorted(growths)[-5:]:
        sys.stderr.write(f"{grown:.0f} MB more for {template}: {payload!r}\n")
    sys.stdout.write(f"{len(growths)} {_peak_mb() - start:.0f}\n")


def _decode(topic: Topic[Any], payload: bytes) -> None:
    try:
        topic.decode(payload)
    except BadMessageError:
        return
    raise AssertionError(f"a bomb was decoded: {topic.template} {payload[:60]!r}")


if __name__ == "__main__":
    main()
