"""Every topic on one screen. A topic knows its address, its payload and whether the broker keeps it.

Addresses are under a root (`stageline/v1` unless a test or a second house on the same broker says otherwise).
State topics are retained, flow topics never. JSON can be read in `mosquitto_sub`; frames are msgpack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import msgpack

from schemas import root
from schemas.accuracy import Accuracy, Seen
from schemas.base import Message, check_name
from schemas.decoding import MOST_CONTROL_BYTES, BadMessageError, from_json, from_msgpack
from schemas.deployment import Decision, Deployment, HubStatus
from schemas.device import Claim, Command, DeviceInfo, DeviceStatus, Duty, Profile, Telemetry
from schemas.frame import DEFAULT_LIMITS, Frame, FrameError, open_frame
from schemas.gateway import Delivered
from schemas.learning import Learning
from schemas.model import BlobChunk, BlobRequest, ModelCard
from schemas.plan import Plan
from schemas.stages import StagesHeld, Timing

__all__ = ["ALL", "ROOT", "BadMessageError", "Topic"]

ROOT: Final = root.ROOT
_USUAL_BYTES: Final = 64 << 10
_LONG_BYTES: Final = 1 << 20
_BLOB_BYTES: Final = _LONG_BYTES + (16 << 10)
_FRAME_BYTES: Final = DEFAULT_LIMITS.frame_bytes

M = TypeVar("M")


@dataclass(frozen=True)
class Topic(Generic[M]):
    """One kind of address: `template` with `{names}`, and what travels there."""

    template: str
    payload: type[M]
    retained: bool
    encoding: Literal["json", "msgpack", "frame"]
    about: str
    most_bytes: int = _USUAL_BYTES
    """A longer payload is refused unread."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names in the template, in order."""
        return tuple(re.findall(r"{(\w+)}", self.template))

    def address(self, **parameters: str | int) -> str:
        """The address below the root.

        Raises:
            schemas.base.InvalidNameError: a parameter that cannot be a topic level.
            KeyError: a parameter is missing.
        """
        checked = {name: check_name(name, str(parameters[name])) for name in self.parameters}
        return self.template.format(**checked)

    def filter(self, **parameters: str | int) -> str:
        """A subscription filter: parameters that are not given become `+`."""
        levels = {
            name: check_name(name, str(parameters[name])) if name in parameters else "+" for name in self.parameters
        }
        return self.template.format(**levels)

    def parse(self, address: str) -> dict[str, str] | None:
        """The parameters of an address below the root, or None when it is another topic's."""
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.template)
        match = re.fullmatch(pattern, address)
        return match.groupdict() if match else None

    def encode(self, message: M) -> bytes:
        """The payload of a message (frames are encoded by `schemas.frame.encode_frame`)."""
        if not isinstance(message, Message):
            raise TypeError(f"{self.template} carries {self.payload.__name__}; encode frames with encode_frame")
        if self.encoding == "msgpack":
            packed: bytes = msgpack.packb(message.model_dump(mode="python"))
            return packed
        return message.model_dump_json(exclude_none=True).encode()

    def decode(self, payload: bytes | bytearray | memoryview) -> M:
        """A checked message from bytes that nobody vouches for.

        Raises:
            BadMessageError: oversized, malformed or not what this topic carries.
        """
        if len(payload) > self.most_bytes:
            raise BadMessageError(
                "oversized", f"{len(payload)} bytes; {self.template} carries at most {self.most_bytes}"
            )
        kind: Any = self.payload
        decoded: M
        if self.encoding == "frame":
            try:
                kind = open_frame(payload, DEFAULT_LIMITS)
            except FrameError as error:
                raise BadMessageError(error.reason, str(error)) from error
            decoded = kind
        else:
            decoded = from_json(kind, payload) if self.encoding == "json" else from_msgpack(kind, payload)
        return decoded


# --- state: retained -------------------------------------------------------------------------------------------------
DEVICE_STATUS = Topic(
    "device/{device}/status", DeviceStatus, True, "json", "online/offline; also the monitor's last will"
)
DEVICE_INFO = Topic("device/{device}/info", DeviceInfo, True, "json", "cores, quota, memory, accelerator, versions")
DEVICE_TELEMETRY = Topic("device/{device}/telemetry", Telemetry, True, "json", "load, memory, heat, power, link, now")
DEVICE_PROFILE = Topic("device/{device}/profile/{model}", Profile, True, "json", "measured ms per block", _LONG_BYTES)
DEVICE_STAGES = Topic(
    "device/{device}/stages", StagesHeld, True, "json", "stages held; also the worker's last will", _LONG_BYTES
)
DEVICE_DUTY = Topic("device/{device}/duty", Duty, True, "json", "what people want of it: serve, or drain")
MODEL_CARD = Topic(
    "model/{model}/card", ModelCard, True, "json", "blocks, cut points, shapes, costs, blobs", MOST_CONTROL_BYTES
)
DEPLOYMENT = Topic("deployment/{deployment}", Deployment, True, "json", "what somebody asked for; empty removes it")
PLAN_NEXT = Topic("plan/{deployment}/next", Plan, True, "json", "the plan being prepared", MOST_CONTROL_BYTES)
PLAN_CURRENT = Topic("plan/{deployment}/current", Plan, True, "json", "the plan being served", MOST_CONTROL_BYTES)
PLAN_DECISION = Topic(
    "plan/{deployment}/decision", Decision, True, "json", "why: alternatives, reasons, or an error", MOST_CONTROL_BYTES
)
PLAN_ACCURACY = Topic(
    "plan/{deployment}/accuracy", Accuracy, True, "json", "predicted against measured, running", MOST_CONTROL_BYTES
)
PLAN_LEARNING = Topic(
    "plan/{deployment}/learning",
    Learning,
    True,
    "json",
    "what a learning policy has found out, and its regret",
    _LONG_BYTES,
)
GATEWAY_ANSWER = Topic(
    "gateway/{gateway}/{request}",
    Delivered,
    True,
    "json",
    "a journalled request's outcome; its reader clears it",
    MOST_CONTROL_BYTES,
)
HUB_STATUS = Topic("hub/status", HubStatus, True, "json", "the planner is there; also its last will")

# --- flow: never retained --------------------------------------------------------------------------------------------
DEVICE_TIMING = Topic(
    "device/{device}/timing", Timing, False, "json", "rolling stage times, queue depth, bytes", _LONG_BYTES
)
DEVICE_CLAIM = Topic(
    "device/{device}/claim", Claim, False, "json", "is this name taken? its holder answers by its state"
)
DEVICE_COMMAND = Topic("device/{device}/command", Command, False, "json", "what the planner asks of a device")
SEEN = Topic("seen/{deployment}/{submitter}", Seen, False, "json", "what a submitter sees of each route", _LONG_BYTES)
BLOB_REQUEST = Topic("model/{model}/blob/{sha}", BlobRequest, False, "msgpack", "please send this range of this blob")
BLOB_CHUNK = Topic("model/{model}/blob/{sha}/{receiver}", BlobChunk, False, "msgpack", "a range of a blob", _BLOB_BYTES)
STAGE = Topic(
    "stage/{deployment}/{generation}/{device}/{stage}", Frame, False, "frame", "work for one stage", _FRAME_BYTES
)
ANSWER = Topic("answer/{submitter}", Frame, False, "frame", "answers and errors, back to whoever asked", _FRAME_BYTES)

ECHO_TEMPLATE: Final = root.ECHO_TEMPLATE

ALL: Final[tuple[Topic[Any], ...]] = tuple(value for value in globals().values() if isinstance(value, Topic))
