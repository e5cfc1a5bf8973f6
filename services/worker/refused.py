"""A frame that gets no tensors for an answer, and what the submitter is told instead."""

from __future__ import annotations

from typing import Final

from broker.rejections import clipped
from schemas.frame import encode_frame
from schemas.frame_header import ErrorCode, FrameFault, FrameHeader

_MOST_TOLD: Final = 1000
"""Characters of a reason that a submitter is sent."""


class RefusedError(Exception):
    """A frame that this stage does not answer with tensors; `code` and the message go to the submitter."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ErrorCode = code


def fault_payload(device: str, header: FrameHeader, refused: RefusedError) -> bytes:
    """The frame that tells a submitter why there is no answer."""
    # A model's code may have put anything into its message; what is no text cannot be sent.
    detail = str(refused).encode("utf-8", "replace").decode("utf-8")
    fault = FrameFault(code=refused.code, detail=clipped(detail, _MOST_TOLD), device=device)
    return encode_frame(header.model_copy(update={"kind": "error", "fault": fault}))
