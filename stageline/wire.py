"""Requests as frames on a first stage's topic; large ones are encoded off the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial

from broker.bus import Bus
from schemas.codec import Array
from schemas.frame import FrameHeader, encode_frame
from schemas.plan import stage_id
from schemas.topics import ANSWER, STAGE
from stageline.inputs import LARGE_BYTES
from stageline.sending import Send


async def send_request(
    bus: Bus, send: Send, tensors: Mapping[str, Array], *, submitter: str, budget_ms: float, traceparent: str = ""
) -> bool:
    """Send one attempt to the first stage of its route; False when nobody listens there.

    Raises:
        broker.connection.BusError: it was not sent.
        schemas.codec.TensorError: an element type that frames do not carry.
    """
    plan = send.plan
    header = FrameHeader(
        kind="work",
        request=send.request,
        submitter=submitter,
        deployment=plan.deployment,
        generation=plan.generation,
        route=send.route,
        attempt=send.attempt,
        budget_ms=budget_ms,
        traceparent=traceparent,
    )
    encode = partial(encode_frame, header, tensors, plan.input_codec)
    large = sum(tensor.nbytes for tensor in tensors.values()) > LARGE_BYTES
    payload = await asyncio.to_thread(encode) if large else encode()
    return await bus.send_frame(
        STAGE,
        payload,
        expiry_s=math.ceil(budget_ms / 1000),
        correlation=send.request,
        response_address=bus.full_address(ANSWER, submitter=submitter),
        traceparent=traceparent or None,
        deployment=plan.deployment,
        generation=plan.generation,
        device=plan.routes[send.route].stages[0].device,
        stage=stage_id(send.route, 0),
    )
