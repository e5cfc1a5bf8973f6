"""Made-up messages of every schema, and ways to spoil them: hypothesis strategies derived from the JSON schemas.

One mechanism for all: a schema says what each field may be. What it cannot say, that fields agree with one another, is
put right afterwards (`_AGREEMENTS`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.codec import Array
from schemas.frame import Frame, encode_frame
from schemas.frame_header import FrameHeader
from schemas.tensors import ITEM_BYTES
from schemas.topics import Topic

Json = dict[str, Any]

_MOST_ITEMS: Final = 4
_MOST_CHARACTERS: Final = 24
_LARGEST_NUMBER: Final = 1e18
_HERE: Final = "\N{PILE OF POO} here"
"""Stands where something spoilt will be written."""


def messages(topic: Topic[Any]) -> st.SearchStrategy[Any]:
    """Valid messages of a topic that carries no frames."""
    schema = topic.payload.model_json_schema()
    fields = _values(schema, schema.get("$defs", {}))
    if topic.encoding == "msgpack":
        return fields.map(topic.payload.model_validate)
    return fields.map(lambda said: topic.payload.model_validate_json(json.dumps(said)))


def payloads(topic: Topic[Any]) -> st.SearchStrategy[bytes]:
    """Valid payloads of a topic."""
    return frames() if topic.payload is Frame else messages(topic).map(topic.encode)


def frames() -> st.SearchStrategy[bytes]:
    """Valid frames: any header, up to three tensors, any codec."""
    schema = FrameHeader.model_json_schema()
    headers = _values(schema, schema["$defs"]).map(
        lambda said: FrameHeader.model_validate_json(json.dumps({**said, "tensors": []}))
    )
    codecs = st.sampled_from(["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"])
    tensors = st.dictionaries(st.text(min_size=1, max_size=_MOST_CHARACTERS), arrays(), max_size=3)
    return st.builds(encode_frame, headers, tensors, codecs)


def arrays() -> st.SearchStrategy[Array]:
    """Arrays of every element type that frames carry, empty ones and ones without dimensions too."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)
    return st.sampled_from(sorted(ITEM_BYTES)).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), shapes))


def spoilt(topic: Topic[Any]) -> st.SearchStrategy[bytes]:
    """JSON that was valid, with something wrong in one place: a value, a field too many or too few, one said twice."""
    return st.builds(_spoil, messages(topic), st.randoms(use_true_random=False), st.sampled_from(SPOILT_VALUES))


SPOILT_VALUES: Final = (
    "null", "true", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "-1", "0.5", "-0.0", "1E-400", '"NaN"', '"1"',
    "9" * 5000, "18446744073709551616", "-9223372036854775809", "9007199254740993", '""', '"\\u0000"', '"\\ud800"',
    '"' + "x" * 10_000 + '"', '"a/b"', '"+"', '"\\u001b[2J\\n"', "[]", "{}", "[" * 5000, "[" * 5000 + "]" * 5000,
    '{"a":' * 3000 + "1" + "}" * 3000, "[" + "0," * 5000 + "0]", "[null]", '{"x":{"x":{}}}', "'", "\x00",
)  # fmt: skip
"""As they are written: most are no values at all, or of no type that belongs where they stand."""


def _spoil(message: Any, random: Any, written: str) -> bytes:
    said = message.model_dump(mode="json", exclude_none=True)
    places = list(_places(said))
    holder, key = random.choice(places)
    how = random.choice(("replace", "replace", "leave out", "add", "twice"))
    if how == "replace":
        holder[key] = _HERE
    elif how == "leave out" or isinstance(holder, list):
        del holder[key]
    elif how == "add":
        holder[f"{key}_"] = _HERE
    text = json.dumps(said)
    if how == "twice":
        text = f"{{{json.dumps(str(key))}:{json.dumps(_HERE)},{text.removeprefix('{')}"
    return text.replace(json.dumps(_HERE), written).encode(errors="surrogatepass")


def _places(said: Any) -> list[tuple[Any, Any]]:
    """Everything that could be another: its holder, and its name or number there."""
    found: list[tuple[Any, Any]] = []
    inside = list(said.items()) if isinstance(said, dict) else list(enumerate(said)) if isinstance(said, list) else []
    for key, value in inside:
        found.append((said, key))
        found += _places(value)
    return found


def _values(schema: Json, defs: Json) -> st.SearchStrategy[Any]:
    """What a JSON schema allows; a message's own fields are made to agree with one another."""
    if "$ref" in schema:
        return _values(defs[schema["$ref"].rpartition("/")[2]], defs)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return st.one_of([_values(one, defs) for one in schema[choice]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return _BY_TYPE[schema["type"]](schema, defs)


def _object(schema: Json, defs: Json) -> st.SearchStrategy[Any]:
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        names = _values({"type": "string", **schema.get("propertyNames", {})}, defs)
        return st.dictionaries(names, _values(more, defs), max_size=_MOST_ITEMS)
    fields = {name: _values(one, defs) for name, one in schema.get("properties", {}).items()}
    needed = {name: one for name, one in fields.items() if name in schema.get("required", [])}
    others = {name: one for name, one in fields.items() if name not in needed}
    agree = _AGREEMENTS.get(schema.get("title", ""), _as_it_is)
    return st.fixed_dictionaries(needed, optional=others).map(agree)


def _array(schema: Json, defs: Json) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(_values(one, defs) for one in schema["prefixItems"])).map(list)
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", _MOST_ITEMS), max(_MOST_ITEMS, least))
    return st.lists(_values(schema["items"], defs), min_size=least, max_size=most)


def _string(schema: Json, defs: Json) -> st.SearchStrategy[Any]:  # noqa: ARG001 - one signature for all types
    if schema.get("format") == "binary":
        return st.binary(max_size=200)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].removeprefix("^").removesuffix("$"), fullmatch=True)
    most = min(schema.get("maxLength", _MOST_CHARACTERS), _MOST_CHARACTERS)
    return st.text(min_size=schema.get("minLength", 0), max_size=most)


def _integer(schema: Json, defs: Json) -> st.SearchStrategy[Any]:  # noqa: ARG001 - as above
    most = schema.get("maximum", schema.get("exclusiveMaximum", 2**63) - 1)
    return st.integers(schema.get("minimum", -(2**63)), most)


def _number(schema: Json, defs: Json) -> st.SearchStrategy[Any]:  # noqa: ARG001 - as above
    least = schema.get("minimum", schema.get("exclusiveMinimum", -_LARGEST_NUMBER))
    return st.floats(
        least,
        schema.get("maximum", _LARGEST_NUMBER),
        exclude_min="exclusiveMinimum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )


_BY_TYPE: Final[dict[str, Callable[[Json, Json], st.SearchStrategy[Any]]]] = {
    "object": _object, "array": _array, "string": _string, "integer": _integer, "number": _number,
    "boolean": lambda _schema, _defs: st.booleans(), "null": lambda _schema, _defs: st.none(),
}  # fmt: skip


# --- what fields of one message must agree on ------------------------------------------------------------------------
def _as_it_is(said: Json) -> Json:
    return said


def _blocks_in_order(said: Json) -> Json:
    """Of pins and stages: some block, whichever way round the two numbers came."""
    first, last = sorted((said["first"], said["last"]))
    return {**said, "first": min(first, 2**53 - 1), "last": max(last, min(first, 2**53 - 1) + 1)}


def _one_after_the_other(said: Json) -> Json:
    """Of routes: stages that follow one another from block 0, or from where bands end, and the answer as it is."""
    shared = said.get("side_by_side")
    start = 0 if shared is None else 1 + shared["last"] % 9
    ends = [start + end for end in accumulate(1 + stage["first"] % 9 for stage in said["stages"])]
    stages = [
        {**stage, "first": first, "last": last}
        for stage, first, last in zip(said["stages"], [start, *ends], ends, strict=False)
    ]
    if shared is not None:
        said = {**said, "side_by_side": {**shared, "last": start}}
    stages[-1] = {**stages[-1], "codec": "fp32"}
    predictions = said.get("stage_predictions", [])
    return {**said, "stages": stages, "stage_predictions": predictions if len(predictions) == len(stages) else []}


def _top_to_bottom(said: Json) -> Json:
    """Of bands: each goes on where the one above it ends."""
    ends = list(accumulate(1 + band["gives"][0] % 9 for band in said["bands"]))
    bands = [
        {**band, "gives": [first, last]} for band, first, last in zip(said["bands"], [0, *ends], ends, strict=False)
    ]
    predictions = said.get("predictions", [])
    return {**said, "bands": bands, "predictions": predictions if len(predictions) == len(bands) else []}


def _some_rows(said: Json) -> Json:
    rows = {}
    for name in ("takes", "gives"):
        first = min(*said[name], 2**53 - 1)
        rows[name] = [first, max(*said[name], first + 1)]
    return {**said, **rows}


def _adding_up(said: Json) -> Json:
    """Of cards: nodes in order, one cut more than blocks, only blobs that are listed."""
    ends = list(accumulate(1 + block["first_node"] % 9 for block in said["blocks"]))
    blobs = len(said["blobs"])
    blocks = [
        {
            **block,
            "first_node": first,
            "last_node": last,
            "blobs": [index % blobs for index in block.get("blobs", [])] if blobs else [],
        }
        for block, first, last in zip(said["blocks"], [0, *ends], ends, strict=False)
    ]
    cuts = [*said["cuts"], *[{"tensors": []}] * (len(blocks) + 1)][: len(blocks) + 1]
    return {**said, "blocks": blocks, "cuts": cuts, **_exits(said, len(blocks))}


def _exits(said: Json, blocks: int) -> Json:
    """Of cards: exits in order before the last block, each giving what the model gives; points that name them all."""
    outputs = said["outputs"]
    room = blocks - 1 if len(outputs) == 1 else 0
    exits = [
        {**one, "name": f"exit{number}", "block": number, "output": {**outputs[0], "name": one["output"]["name"]}}
        for number, one in enumerate(said.get("exits", [])[:room])
    ]
    even = [1 / len(exits)] * len(exits) if exits else []
    points = [{**point, "thresholds": even, "shares": even} for point in said.get("operating_points", [])]
    return {"exits": exits, "operating_points": points}


def _met_in_order(said: Json) -> Json:
    """Of plans: exits as a request meets them, behind all bands and before any route's last block."""
    shared = [route["side_by_side"]["last"] for route in said["routes"] if route.get("side_by_side") is not None]
    blocks = range(max(shared, default=0), min(route["stages"][-1]["last"] for route in said["routes"]) - 1)
    rules = zip(blocks, said.get("exits", []), strict=False)
    return {**said, "exits": [{**rule, "name": f"exit{block}", "block": block} for block, rule in rules]}


def _one_way_to_thresholds(said: Json) -> Json:
    """Of deployments: thresholds are given or chosen, and of open exits only."""
    given = {} if said.get("accuracy_min") is not None else said.get("thresholds", {})
    closed = [name for name in said.get("closed_exits", []) if name not in given]
    return {**said, "thresholds": given, "closed_exits": closed}


def _failed_for_a_reason(said: Json) -> Json:
    return {**said, "reason": "because" if said["state"] == "failed" else ""}


_AGREEMENTS: Final[dict[str, Callable[[Json], Json]]] = {
    "Pin": _blocks_in_order,
    "Stage": _blocks_in_order,
    "Band": _some_rows,
    "SideBySide": _top_to_bottom,
    "Route": _one_after_the_other,
    "Plan": _met_in_order,
    "ModelCard": _adding_up,
    "Deployment": _one_way_to_thresholds,
    "Delivered": _failed_for_a_reason,
}
