"""Requests as frames: on the topic of a first stage, or cut into rows on those of its bands.

Large ones are encoded off the event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from broker.bus import Bus
from models.rows.join import cut_rows
from models.rows.specs import input_axis
from schemas.codec import Array
from schemas.frame import FrameHeader, encode_frame
from schemas.model import ModelCard
from schemas.plan import band_id, stage_id
from schemas.topics import ANSWER, STAGE
from stageline.inputs import LARGE_BYTES
from stageline.sending import Send


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What one device is sent of a request."""

    device: str
    stage: str
    tensors: Mapping[str, Array]
    band: int = 0
    bands: int = 0


async def send_request(
    bus: Bus,
    send: Send,
    tensors: Mapping[str, Array],
    *,
    card: ModelCard,
    submitter: str,
    budget_ms: float,
    traceparent: str = "",
) -> bool:
    """Send one attempt to the first stage of its route, or to all of its bands; False when one does not listen.

    Raises:
        broker.connection.BusError: it, or a band of it, was not sent.
        schemas.codec.TensorError: an element type that frames do not carry.
        models.rows.chain.RowsError: the plan divides rows that the input does not have.
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
    sending = [_send(bus, send, header, parcel) for parcel in _parcels(send, tensors, card)]
    if len(sending) == 1:
        return await sending[0]
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return all(outcomes)


def _parcels(send: Send, tensors: Mapping[str, Array], card: ModelCard) -> list[_Parcel]:
    route = send.plan.routes[send.route]
    shared = route.side_by_side
    if shared is None:
        return [_Parcel(route.stages[0].device, stage_id(send.route, 0), tensors)]
    axis, bands = input_axis(card), len(shared.bands)
    return [
        _Parcel(
            band.device,
            band_id(send.route, number),
            {name: cut_rows(tensor, band.takes, axis) for name, tensor in tensors.items()},
            number,
            bands,
        )
        for number, band in enumerate(shared.bands)
    ]


async def _send(bus: Bus, send: Send, header: FrameHeader, parcel: _Parcel) -> bool:
    if parcel.bands:
        header = header.model_copy(update={"band": parcel.band, "bands": parcel.bands})
    encode = partial(encode_frame, header, parcel.tensors, send.plan.input_codec)
    large = sum(tensor.nbytes for tensor in parcel.tensors.values()) > LARGE_BYTES
    payload = await asyncio.to_thread(encode) if large else encode()
    return await bus.send_frame(
        STAGE,
        payload,
        expiry_s=math.ceil(header.budget_ms / 1000),
        correlation=send.request,
        response_address=bus.full_address(ANSWER, submitter=header.submitter),
        traceparent=header.traceparent or None,
        deployment=header.deployment,
        generation=header.generation,
        device=parcel.device,
        stage=parcel.stage,
    )
