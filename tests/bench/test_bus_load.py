import pytest

from bench.bus_load import packet, text, whole_packet
from bench.experiments.bus import _step, limited_by, saturated
from broker.embedded import EmbeddedBroker


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 600_000])
def test_a_packet_of_any_length_is_found_again_whole_and_only_when_it_is(size):
    raw = packet(0x30, bytes(size))
    kind, body, end = whole_packet(bytearray(raw + b"more"))
    assert (kind, end - body, end) == (0x30, size, len(raw))
    assert whole_packet(bytearray(raw[:-1])) is None


def test_a_length_that_is_itself_cut_off_is_no_packet_yet():
    assert whole_packet(bytearray(packet(0x30, bytes(20_000))[:2])) is None
    assert whole_packet(bytearray()) is None


def test_text_is_led_by_its_length():
    assert text("MQTT") == b"\x00\x04MQTT"


def test_the_ramp_ends_after_two_steps_that_brought_nothing():
    assert not saturated([100, 200])
    assert not saturated([100, 200, 205, 300])
    assert saturated([100, 200, 205, 204])


def test_a_full_core_of_the_broker_is_named_before_a_full_machine():
    assert limited_by(0.95, 1.0) == "the broker's core"
    assert limited_by(0.5, 0.97) == "the machine's cores"
    assert limited_by(0.2, 0.4) == "waiting"


def test_every_request_of_a_real_load_over_a_real_broker_is_two_messages():
    with EmbeddedBroker() as broker:
        step = _step(broker, 20_000, 2, 1.0)
    assert step["messages_per_s"] > 0
    assert step["mbytes_per_s"] == pytest.approx(step["messages_per_s"] / 2 * (20_000 + 4096) / 1e6)
    assert 0 < step["latency_p50_ms"] <= step["latency_p99_ms"]
