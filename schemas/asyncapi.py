"""The bus as an AsyncAPI 3.0 document, made from the topics and messages: `python -m schemas.asyncapi [FILE]`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from schemas import topics
from schemas.frame import FRAME_CONTENT_TYPE, Frame
from schemas.frame_header import FrameHeader
from schemas.topics import Topic

_DEFS = "#/components/schemas/{model}"
_CONTENT_TYPES = {
    "json": "application/json",
    "msgpack": "application/msgpack",
    "frame": FRAME_CONTENT_TYPE,
}
_PARAMETERS = {
    "device": "A device: a machine with a monitor and a worker.",
    "deployment": "A model being served, with its objective.",
    "gateway": "Whoever delivers the answers to requests of a journal.",
    "generation": "Number of a plan; grows with every plan, and fences stale work.",
    "model": "A model in the hub's library.",
    "receiver": "Whoever asked for the blob.",
    "request": "A request that was handed over to a journal.",
    "sha": "SHA-256 of a blob, in hexadecimal.",
    "stage": "Route and place in it: r0s2.",
    "submitter": "Whoever waits for the answer.",
}


def document() -> dict[str, Any]:
    """The AsyncAPI document: one channel, message and operation per topic."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for constant, topic in sorted(vars(topics).items()):
        if not isinstance(topic, Topic):
            continue
        key = constant.lower()
        message = _message_name(topic)
        channels[key] = _channel(topic, message)
        operations[f"publish_{key}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": topic.about,
            "bindings": {"mqtt": {"qos": 1, "retain": topic.retained}},
        }
        messages[message] = {
            "name": message,
            "contentType": _CONTENT_TYPES[topic.encoding],
            "payload": {"$ref": _DEFS.format(model=message)},
        }
        schemas.update(_schemas(topic))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stageline",
            "version": topics.ROOT.rpartition("/")[2],
            "description": (
                f"Every address is below `{topics.ROOT}/`. State topics are retained, flow topics never. "
                "A frame is a msgpack array: the header described here, then one `bin` per tensor."
            ),
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _message_name(topic: Topic[Any]) -> str:
    return "FrameHeader" if topic.payload is Frame else topic.payload.__name__


def _channel(topic: Topic[Any], message: str) -> dict[str, Any]:
    return {
        "address": f"{topics.ROOT}/{topic.template}",
        "description": topic.about,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {name: {"description": _PARAMETERS[name]} for name in topic.parameters},
    }


def _schemas(topic: Topic[Any]) -> dict[str, Any]:
    model = FrameHeader if topic.payload is Frame else topic.payload
    schema = model.model_json_schema(ref_template=_DEFS)
    nested: dict[str, Any] = schema.pop("$defs", {})
    return {**nested, model.__name__: schema}


def render() -> str:
    """The document as it is kept in `docs/asyncapi.json`."""
    text = json.dumps(document(), indent=2, ensure_ascii=False)
    # Python 3.13 cleans docstrings of their indentation, 3.11 does not: the file must not depend on it.
    return re.sub(r"\\n +", r"\\n", text) + "\n"


def main() -> None:
    """Write the document to the file named, or to `docs/asyncapi.json` beside this package."""
    default = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    target.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {target}\n")


if __name__ == "__main__":
    main()
