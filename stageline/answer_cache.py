"""Answers that a submitter keeps, so that an input it has seen before needs no device.

AMP4EC reports this as AMP4EC+Cache (arXiv 2504.00407 [P]); how it is keyed there is not said, so the rest is ours.

Stages are pure functions, so the same input bytes through the same model give the same answer. What an answer may
stand for is therefore told by three things: the hash of the model's card, the hash of the input tensors (names, element
types, shapes and bytes), and what the plan did to activations on their way (`losses`). A change of plan alone forgets
nothing; another model, or a lossy codec at another cut, is never answered with what is kept here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from schemas.codec import Array
from schemas.plan import Plan
from stageline.inputs import LARGE_BYTES
from stageline.receipts import Answer

DEFAULT_MAX_BYTES: Final = 256_000_000
_Key = tuple[str, tuple[str, ...], bytes]


class AnswerCache:
    """The answers last asked for: at most so many, and at most so many bytes of outputs.

    It belongs to one client at a time; the next one may take it over. Not for several threads.

    Raises:
        ValueError: no room for anything.
    """

    def __init__(self, answers: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if answers < 1 or max_bytes < 1:
            raise ValueError(f"a cache of {answers} answers and {max_bytes} bytes keeps nothing: leave it out instead")
        self.answers = answers
        self.max_bytes = max_bytes
        self.nbytes = 0
        """Of outputs kept now."""
        self._kept: OrderedDict[_Key, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, plan: Plan, digest: bytes) -> Answer | None:
        """The answer that this plan would give again, outputs copied so that the caller may change them; or None.

        Its receipt is still that of the request it was computed for.
        """
        key = _key(plan, digest)
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return replace(kept, outputs={name: array.copy() for name, array in kept.outputs.items()})

    def keep(self, plan: Plan, digest: bytes, answer: Answer) -> None:
        """Remember what `plan` answered to that input; what was asked for longest ago goes when there is no room.

        The receipt's stages are not kept: their joules and bytes are spent once, and were reported then.
        """
        size = _nbytes(answer)
        if size > self.max_bytes:
            return
        key = _key(plan, digest)
        if (before := self._kept.pop(key, None)) is not None:
            self.nbytes -= _nbytes(before)
        outputs = {name: array.copy() for name, array in answer.outputs.items()}
        receipt = answer.receipt.model_copy(update={"stages": ()})
        self._kept[key] = replace(answer, outputs=outputs, receipt=receipt)
        self.nbytes += size
        while len(self._kept) > self.answers or self.nbytes > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.nbytes -= _nbytes(oldest)


def repeated(kept: Answer, *, request: str, latency_ms: float) -> Answer:
    """The kept answer as that of another request: its receipt says that nothing was computed for it."""
    update = {
        "request": request,
        "cached_from": kept.receipt.request,
        "attempts": 0,
        "latency_ms": latency_ms,
        "held_ms": latency_ms,
        "stages": (),
    }
    return replace(kept, request=request, receipt=kept.receipt.model_copy(update=update))


def own_copy(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors that nobody else can change: what is hashed must be what is sent."""
    return {name: np.array(array, order="C", copy=True) for name, array in tensors.items()}


def input_digest(tensors: Mapping[str, Array]) -> bytes:
    """SHA-256 over names, element types, shapes and bytes, the same in whatever order the tensors come."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        # Sizes come first, so that no two sets of tensors read the same.
        digest.update(json.dumps([name, array.dtype.name, tensors[name].shape, array.nbytes]).encode() + b"\0")
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()


async def digest_aside(tensors: Mapping[str, Array]) -> bytes:
    """`input_digest`, off the event loop where it takes long enough to hold others up."""
    if sum(array.nbytes for array in tensors.values()) < LARGE_BYTES:
        return input_digest(tensors)
    return await asyncio.to_thread(input_digest, tensors)


def losses(plan: Plan) -> tuple[str, ...]:
    """What a plan may take from answers: lossy codecs and where, exits and how easily; empty when nothing is taken.

    Two plans with equal losses give equal answers, up to the rounding of whichever device computed them.
    """
    crossings = {(plan.input_codec, 0)}
    crossings |= {(stage.codec, stage.last) for route in plan.routes for stage in route.stages}
    crossings |= {(route.side_by_side.codec, route.side_by_side.last) for route in plan.routes if route.side_by_side}
    # zstd gives back every bit, so it is left aside.
    bases = {(codec.partition("+")[0], block) for codec, block in crossings}
    lossy = [f"{base}@{block}" for base, block in bases if base != "fp32"]
    return tuple(sorted([*lossy, *(f"exit {rule.name} {rule.threshold!r}" for rule in plan.exits)]))


def _key(plan: Plan, digest: bytes) -> _Key:
    return plan.card_sha, losses(plan), digest


def _nbytes(answer: Answer) -> int:
    return sum(array.nbytes for array in answer.outputs.values())
