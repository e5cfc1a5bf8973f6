"""Programs from before early exits and shared rows read what uses neither, and know cards by the same hash.

The texts are what such a program wrote, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas import topics
from schemas.base import Message
from schemas.deployment import Deployment
from schemas.gateway import Delivered
from schemas.model import Exit, ModelCard, OperatingPoint, TensorSpec
from schemas.plan import ExitRule, Plan
from schemas.plan_text import parse_route
from schemas.stages import ExitSeen, Timing
from schemas.topics import Topic

X = '{"name":"x","dtype":"float32","shape":[1,4]}'
CUT = f'{{"tensors":[{X}]}}'
COSTS = '"macs":10,"layer_cost":0,"weight_bytes":8,"peak_activation_bytes":16,"blobs":[0]'
CARD = (
    '{"version":1,"name":"tiny","source":"test",'
    f'"graph":{{"sha256":"{"0" * 64}","nbytes":10}},"blobs":[{{"sha256":"{"1" * 64}","nbytes":8}}],'
    f'"blocks":[{{"label":"a","first_node":0,"last_node":2,{COSTS}}},'
    f'{{"label":"b","first_node":2,"last_node":3,{COSTS}}}],'
    f'"cuts":[{CUT},{CUT},{CUT}],"inputs":[{X}],"outputs":[{X}],"labels":[],"notes":[]}}'
)
CARD_SHA = "c588ba92643629fb469d38a4261e5b7fc061473c3439255e60d14c60237f0ac1"
PLAN = (
    '{"version":1,"deployment":"cats","generation":3,"model":"tiny",'
    f'"card_sha":"{CARD_SHA}","objective":"latency","policy":"exact","input_codec":"fp32","weight":1.0,"in_turn":false,'
    '"routes":[{"stages":[{"device":"pi4","first":0,"last":1,"codec":"u8"},'
    '{"device":"nano","first":1,"last":2,"codec":"fp32"}],'
    '"weight":1.0,"window":2,"together":1,"stage_predictions":[]}]}'
)
WISH = (
    '{"deployment":"cats","model":"tiny","objective":"latency","latency_weight":0.5,"pins":[],"exclude":[],'
    '"memory_limit_bytes":{},"codec":"fp32","policy":"exact","weight":1.0,"requested":1.5}'
)
TIMING = (
    '{"device":"pi4","boot_id":"b","period_s":1.0,"queue_depth":0,"cpu_s":0.0,"stuck_s":0.0,'
    '"stages":[{"deployment":"cats","generation":3,"stage":"r0s0","frames":9,"wait_ms":0.5,"compute_ms":2.0,'
    '"codec_ms":0.25,"bytes_in":16,"bytes_out":4}],"rejected":{}}'
)
ANSWER = (
    '{"request":"r","deployment":"cats","name":"a.jpg","state":"answered","handed_over":1.0,"resolved":2.0,'
    '"reason":"","detail":"","top":[],"outputs":[],"generation":3,"route":"r0","latency_ms":7.5,"stages":[]}'
)


@pytest.mark.parametrize(
    ("topic", "written"),
    [
        (topics.MODEL_CARD, CARD),
        (topics.PLAN_CURRENT, PLAN),
        (topics.DEPLOYMENT, WISH),
        (topics.DEVICE_TIMING, TIMING),
        (topics.GATEWAY_ANSWER, ANSWER),
    ],
    ids=["card", "plan", "wish", "timing", "answer"],
)
def test_what_uses_nothing_new_is_written_as_it_always_was(topic: Topic[Any], written: str) -> None:
    assert topic.encode(topic.decode(written.encode())).decode() == written


def test_a_card_without_exits_has_the_hash_that_it_always_had() -> None:
    assert ModelCard.model_validate_json(CARD).sha256 == CARD_SHA


def test_what_is_new_is_written_where_it_is_used_and_counts_in_the_hash() -> None:
    card = ModelCard.model_validate_json(CARD)
    head = Exit(name="early", block=0, output=TensorSpec(name="head", dtype="float32", shape=(1, 4)), threshold=0.5)
    point = OperatingPoint(thresholds=(0.5,), shares=(0.4,), accuracy=0.9)
    with_exit = card.model_copy(update={"exits": (head,)})
    calibrated = with_exit.model_copy(update={"operating_points": (point,)})
    assert len({card.sha256, with_exit.sha256, calibrated.sha256}) == 3
    plan, wish = Plan.model_validate_json(PLAN), Deployment.model_validate_json(WISH)
    timing = Timing.model_validate_json(TIMING)
    (stage,) = timing.stages
    rows = parse_route("(a rows 0:9 from 0:23 + b rows 9:14 from 13:32)[0:2) -> b[2:3)")
    left = (ExitSeen(name="early", met=9, left=0),)
    used: list[tuple[Topic[Any], Message]] = [
        (topics.MODEL_CARD, calibrated),
        (topics.PLAN_CURRENT, plan.model_copy(update={"exits": (ExitRule(name="early", block=0, threshold=0.0),)})),
        (topics.PLAN_CURRENT, plan.model_copy(update={"routes": (rows,)})),
        (topics.DEPLOYMENT, wish.model_copy(update={"thresholds": {"early": 0.0}, "closed_exits": ("late",)})),
        (topics.DEPLOYMENT, wish.model_copy(update={"accuracy_min": 0.0, "side_by_side": False})),
        (topics.DEVICE_TIMING, timing.model_copy(update={"stages": (stage.model_copy(update={"exits": left}),)})),
        (topics.GATEWAY_ANSWER, Delivered.model_validate_json(ANSWER).model_copy(update={"exit": "early"})),
    ]  # fmt: skip
    for topic, message in used:
        assert topic.decode(topic.encode(message)) == message


def test_only_a_fields_default_is_left_out() -> None:
    later = [
        (f"{kind.__name__}.{name}", field)
        for kind in every_message(Message)
        for name, field in kind.model_fields.items()
        if field.exclude_if is not None
    ]
    assert "ModelCard.exits" in dict(later)
    for name, field in later:
        assert field.exclude_if is not None
        assert not field.is_required(), name
        assert field.exclude_if(field.get_default(call_default_factory=True)), name


def every_message(kind: type[Message]) -> Iterator[type[Message]]:
    yield kind
    for more in kind.__subclasses__():
        yield from every_message(more)
