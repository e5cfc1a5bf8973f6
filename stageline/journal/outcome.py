"""From what the client says to what is shown: the document of an outcome, and the model's outputs beside it."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Final

import numpy as np

from schemas.gateway import Delivered, Guessed, OutputTensor
from schemas.tensors import as_dtype
from stageline.journal.records import OpenRequest, Outcome
from stageline.receipts import Answer

_TOP: Final = 5
MOST_INLINE_BYTES: Final = 1_000_000
"""Of outputs inside a document; a message on the bus is no place for more."""


def of_answer(one: OpenRequest, answer: Answer, now: float) -> Outcome:
    """It was answered, at that Unix time."""
    receipt = answer.receipt
    top = answer.top(_TOP) if answer.names_classes else []
    delivered = Delivered(
        request=one.request,
        deployment=one.deployment,
        name=one.content.name,
        state="answered",
        handed_over=one.handed_over,
        resolved=now,
        top=tuple(Guessed(label=guess.label, probability=min(1.0, max(0.0, guess.probability))) for guess in top),
        outputs=tuple(
            OutputTensor(name=name, dtype=dtype, shape=array.shape)
            for name, array in answer.outputs.items()
            if (dtype := as_dtype(array.dtype.name)) is not None
        ),
        generation=receipt.generation,
        route=receipt.route,
        exit=receipt.exit,
        latency_ms=receipt.line_ms,
        stages=receipt.stages,
    )
    file = BytesIO()
    np.savez(file, allow_pickle=False, **answer.outputs)
    return Outcome(delivered, file.getvalue())


def of_failure(one: OpenRequest, reason: str, detail: str, now: float) -> Outcome:
    """It failed for good, at that Unix time."""
    return Outcome(
        Delivered(
            request=one.request,
            deployment=one.deployment,
            name=one.content.name,
            state="failed",
            handed_over=one.handed_over,
            resolved=now,
            reason=reason,
            detail=detail[:4096],
        )
    )


def with_data(outcome: Outcome) -> Delivered:
    """The document with the outputs in it, where they are not too many bytes."""
    if not outcome.outputs:
        return outcome.delivered
    with np.load(BytesIO(outcome.outputs), allow_pickle=False) as arrays:
        if sum(arrays[one.name].nbytes for one in outcome.delivered.outputs) > MOST_INLINE_BYTES:
            return outcome.delivered
        outputs = tuple(
            one.model_copy(update={"data": b64encode(_little_endian(arrays[one.name])).decode("ascii")})
            for one in outcome.delivered.outputs
        )
    return outcome.delivered.model_copy(update={"outputs": outputs})


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
