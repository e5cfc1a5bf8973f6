"""Requests as frames: on the topic of a first stage, or cut into rows on those of its bands.

Large ones are encoded off the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from broker.bus import Bus
from broker.errors import BusError, PublishRefusedError, TooLargeError
from models.rows.join import cut_rows
from models.rows.specs import input_axis
from schemas.codec import Array
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard
from schemas.parts import band_id, stage_id
from schemas.topics import ANSWER, STAGE
from stageline.inputs import LARGE_BYTES
from stageline.sending import Send

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reached:
    """How many frames an attempt was sent as, and how many of them somebody listened for."""

    frames: int
    heard: int

    @property
    def fully(self) -> bool:
        """All of it is on its way."""
        return self.heard == self.frames

    @property
    def partly(self) -> bool:
        """Devices are at work on it, but its answer will never come."""
        return 0 < self.heard < self.frames


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
) -> Reached:
    """Send one attempt to the first stage of its route, or to all of its bands; says how many of them listen.

    Raises:
        broker.errors.BusError: it was not sent, or a band of it never can be. The broker was away: only when it
            got none of it.
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
        return Reached(1, int(await sending[0]))
    return _reached(send.request, await asyncio.gather(*sending, return_exceptions=True))


def _reached(request: str, outcomes: Sequence[bool | BaseException]) -> Reached:
    """What became of all bands.

    Raises:
        BaseException: of one of them, unless the broker was away for this one and has others.
    """
    heard = sum(outcome is True for outcome in outcomes)
    for outcome in outcomes:
        never = isinstance(outcome, (TooLargeError, PublishRefusedError))
        if heard and isinstance(outcome, BusError) and not never:
            _LOG.warning("a band of %s was not sent: %s", request, outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return Reached(len(outcomes), heard)


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
