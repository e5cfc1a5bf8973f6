"""The line that people are shown to watch the bus with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from paho.mqtt.client import topic_matches_sub

from schemas.topics import ALL, ECHO_TEMPLATE, ROOT
from stageline.watch_line import BYTES, watch_line


def test_all_that_is_no_text_is_left_out_and_nothing_else() -> None:
    for topic in ALL:
        address = topic.template.replace("{", "").replace("}", "")
        assert any(topic_matches_sub(one, address) for one in BYTES) == (topic.encoding != "json"), topic.template
    assert any(topic_matches_sub(one, ECHO_TEMPLATE.format(device="pi4")) for one in BYTES)


def test_the_line_asks_for_the_given_root_only() -> None:
    words = watch_line("attic/v1", options="-p 1884").replace("'", "").split()
    assert words[:4] == ["mosquitto_sub", "-p", "1884", "-v"]
    assert ("-t", "attic/v1/#") in set(pairwise(words))
    assert words.count("-T") == len(BYTES)
    assert ROOT not in " ".join(words)


def test_the_how_to_shows_the_same_line() -> None:
    how_to = Path(__file__).parents[2] / "docs" / "how-to" / "three-devices.md"
    assert watch_line(options="$AUTH") in how_to.read_text(encoding="utf-8")
