"""Every topic on one screen. A topic knows its address, its payload and whether the broker keeps it.

Addresses are under a root (`stageline/v1` unless a test or a second house on the same broker says otherwise).
State topics are retained, flow topics never. JSON can be read in `mosquitto_sub`; frames are msgpack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import msgpack
from pydantic import ValidationError

from schemas import root
from schemas.accuracy import Accuracy, Seen
from schemas.base import Message, check_name
from schemas.deployment import Decision, Deployment, HubStatus
from schemas.device import Claim, Command, DeviceInfo, DeviceStatus, Duty, Profile, Telemetry
from schemas.frame import DEFAULT_LIMITS, Frame, FrameError, open_frame
from schemas.model import BlobChunk, BlobRequest, ModelCard
from schemas.plan import Plan
from schemas.stages import StagesHeld, Timing

ROOT: Final = root.ROOT
MAX_CONTROL_BYTES: Final = 4 << 20

M = TypeVar("M")


class BadMessageError(ValueError):
    """A payload that is not what its topic carries. `reason` is a short word for counters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Topic(Generic[M]):
    """One kind of address: `template` with `{names}`, and what travels there."""

    template: str
    payload: type[M]
    retained: bool
    encoding: Literal["json", "msgpack", "frame"]
    about: str

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
        try:
            decoded: M = self._decode(payload)
        except BadMessageError:
            raise
        except FrameError as error:
            raise BadMessageError(error.reason, str(error)) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or self.payload.__name__
            raise BadMessageError("malformed", f"{where}: {first['msg']}") from error
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise BadMessageError("malformed", str(error) or type(error).__name__) from error
        return decoded

    def _decode(self, payload: bytes | bytearray | memoryview) -> Any:
        if self.encoding == "frame":
            return open_frame(payload, DEFAULT_LIMITS)
        if len(payload) > MAX_CONTROL_BYTES:
            raise BadMessageError(
                "oversized", f"{len(payload)} bytes; {self.template} carries at most {MAX_CONTROL_BYTES}"
            )
        kind: Any = self.payload
        if self.encoding == "msgpack":
            limit = len(payload)
            raw = msgpack.unpackb(
                payload, use_list=False, strict_map_key=True, max_bin_len=limit, max_str_len=8192, max_array_len=64,
                max_map_len=64, max_ext_len=0,
            )  # fmt: skip
            return kind.model_validate(raw)
        return kind.model_validate_json(bytes(payload))


# --- state: retained -------------------------------------------------------------------------------------------------
DEVICE_STATUS = Topic(
    "device/{device}/status", DeviceStatus, True, "json", "online/offline; also the monitor's last will"
)
DEVICE_INFO = Topic("device/{device}/info", DeviceInfo, True, "json", "cores, quota, memory, accelerator, versions")
DEVICE_TELEMETRY = Topic("device/{device}/telemetry", Telemetry, True, "json", "load, memory, heat, power, link, now")
DEVICE_PROFILE = Topic("device/{device}/profile/{model}", Profile, True, "json", "measured ms per block")
DEVICE_STAGES = Topic("device/{device}/stages", StagesHeld, True, "json", "stages held; also the worker's last will")
DEVICE_DUTY = Topic("device/{device}/duty", Duty, True, "json", "what people want of it: serve, or drain")
MODEL_CARD = Topic("model/{model}/card", ModelCard, True, "json", "blocks, cut points, shapes, costs, blobs")
DEPLOYMENT = Topic("deployment/{deployment}", Deployment, True, "json", "what somebody asked for; empty removes it")
PLAN_NEXT = Topic("plan/{deployment}/next", Plan, True, "json", "the plan being prepared")
PLAN_CURRENT = Topic("plan/{deployment}/current", Plan, True, "json", "the plan being served")
PLAN_DECISION = Topic("plan/{deployment}/decision", Decision, True, "json", "why: alternatives, reasons, or an error")
PLAN_ACCURACY = Topic("plan/{deployment}/accuracy", Accuracy, True, "json", "predicted against measured, running")
HUB_STATUS = Topic("hub/status", HubStatus, True, "json", "the planner is there; also its last will")

# --- flow: never retained --------------------------------------------------------------------------------------------
DEVICE_TIMING = Topic("device/{device}/timing", Timing, False, "json", "rolling stage times, queue depth, bytes")
DEVICE_CLAIM = Topic(
    "device/{device}/claim", Claim, False, "json", "is this name taken? its holder answers by its state"
)
DEVICE_COMMAND = Topic("device/{device}/command", Command, False, "json", "what the planner asks of a device")
SEEN = Topic("seen/{deployment}/{submitter}", Seen, False, "json", "what a submitter sees of each route")
BLOB_REQUEST = Topic("model/{model}/blob/{sha}", BlobRequest, False, "msgpack", "please send this range of this blob")
BLOB_CHUNK = Topic("model/{model}/blob/{sha}/{receiver}", BlobChunk, False, "msgpack", "a range of a blob")
STAGE = Topic("stage/{deployment}/{generation}/{device}/{stage}", Frame, False, "frame", "work for one stage")
ANSWER = Topic("answer/{submitter}", Frame, False, "frame", "answers and errors, back to whoever asked")

ECHO_TEMPLATE: Final = root.ECHO_TEMPLATE

ALL: Final[tuple[Topic[Any], ...]] = tuple(value for value in globals().values() if isinstance(value, Topic))
