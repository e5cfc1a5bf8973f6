"""What comes back on a submitter's topic: checked by its header against what was asked, then decoded, or rejected.

Whoever may publish there can claim anything: names, sizes, ids. What is no answer to what was asked is counted by
reason and costs no decoding; the right answer is still waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.delivery import FrameDelivery
from broker.rejections import Rejections
from schemas.codec import Array
from schemas.frame import Frame, FrameError
from schemas.frame_header import FrameHeader
from schemas.model import ModelCard
from schemas.topics import ANSWER
from stageline.inputs import LARGE_BYTES
from stageline.sending import Send

_DECODES_ASIDE: Final = 2
"""Large answers decoded at a time; what comes meanwhile waits, in the end with the broker."""

AttemptKey = tuple[int, int, int]
"""Generation, route and number of an attempt. One that nobody heard gives its number to the next."""


class WrongAnswerError(FrameError):
    """A frame as good as any, but no answer to what was asked; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was sent, when, and the card of the model that it was sent to."""

    send: Send
    at: float
    card: ModelCard

    @property
    def key(self) -> AttemptKey:
        """What its answer's header repeats."""
        return self.send.plan.generation, self.send.route, self.send.attempt


@dataclass(frozen=True, slots=True)
class Listener:
    """Who awaits answers; called on the event loop, with the local monotonic time at which the frame came."""

    attempts: Callable[[str], Mapping[AttemptKey, Attempt] | None]
    """All attempts of an open request; None for one that is resolved or was never made."""
    answered: Callable[[FrameHeader, dict[str, Array], Attempt, float], None]
    faulted: Callable[[FrameHeader, float], None]
    """A fault, also to a request that is not open."""
    stray: Callable[[FrameHeader, float], None]
    """An answer to a request that is not open: late or double."""


class Answers:
    """Takes in the answers to one submitter of one deployment."""

    def __init__(self, submitter: str, deployment: str, listener: Listener) -> None:
        self.rejections = Rejections()
        self._address = ANSWER.address(submitter=submitter)
        self._deployment = deployment
        self._listener = listener

    async def run(self, deliveries: AsyncIterator[FrameDelivery]) -> None:
        """Take in what comes until cancelled; large answers are decoded off the event loop."""
        room = asyncio.Semaphore(_DECODES_ASIDE)
        async with asyncio.TaskGroup() as aside:
            async for delivery in deliveries:
                delivery.ack()
                frame = delivery.frame
                now = asyncio.get_running_loop().time()
                try:
                    attempt = self._awaited(frame.header, now)
                    if attempt is not None and _is_large(frame):
                        await room.acquire()
                        aside.create_task(self._decode_aside(frame, attempt, now, room))
                    elif attempt is not None:
                        self._listener.answered(frame.header, _decode(frame), attempt, now)
                except FrameError as error:
                    self._reject(error)

    def _awaited(self, header: FrameHeader, now: float) -> Attempt | None:
        """The attempt whose answer this is, by its header alone; None for what is dealt with already.

        Raises:
            WrongAnswerError: not what was asked for.
        """
        _check_kind(header)
        attempts = self._listener.attempts(header.request)
        if attempts is None:
            tell = self._listener.stray if header.kind == "answer" else self._listener.faulted
            tell(header, now)
            return None
        attempt = _attempt_answered(header, self._deployment, attempts)
        if header.kind == "error":
            self._listener.faulted(header, now)
            return None
        _check_exit(header, attempt)
        _check_outputs(header, attempt.card)
        return attempt

    async def _decode_aside(self, frame: Frame, attempt: Attempt, now: float, room: asyncio.Semaphore) -> None:
        try:
            outputs = await asyncio.to_thread(_decode, frame)
        except FrameError as error:
            self._reject(error)
        else:
            self._listener.answered(frame.header, outputs, attempt, now)
        finally:
            room.release()

    def _reject(self, error: FrameError) -> None:
        self.rejections.add(error.reason, self._address, str(error))


def _check_kind(header: FrameHeader) -> None:
    """Answers, and errors that say what is wrong, come to a submitter; nothing else does.

    Raises:
        WrongAnswerError: anything else.
    """
    if header.kind == "work" or (header.kind == "error" and header.fault is None):
        what = "an error without a fault" if header.kind == "error" else "a frame of kind 'work'"
        raise WrongAnswerError("kind", f"{what} for {header.request}; a submitter takes answers and faults")


def _attempt_answered(header: FrameHeader, deployment: str, attempts: Mapping[AttemptKey, Attempt]) -> Attempt:
    """Which of a request's attempts this answer or fault is about.

    Raises:
        WrongAnswerError: of another deployment, or the request was never sent like that.
    """
    if header.deployment != deployment:
        raise WrongAnswerError("deployment", f"{header.request} was sent to {deployment}, not to {header.deployment}")
    attempt = attempts.get((header.generation, header.route, header.attempt))
    if attempt is None:
        detail = f"attempt {header.attempt} over route {header.route} of generation {header.generation}"
        raise WrongAnswerError("attempt", f"{header.request} was not sent as {detail}")
    return attempt


def _check_exit(header: FrameHeader, attempt: Attempt) -> None:
    """Whether it may have left where it says, or have come from the end of its route.

    Raises:
        WrongAnswerError: the plan opens no such exit, or another stage or block was the last that was computed.
    """
    if not header.exit:
        return
    plan = attempt.send.plan
    rule = next((rule for rule in plan.exits if rule.name == header.exit), None)
    if rule is None:
        open_ = [rule.name for rule in plan.exits]
        have = f"opens {', '.join(open_)}" if open_ else "opens none"
        detail = f"{header.request} left at exit {header.exit!r}, and generation {header.generation} {have}"
        raise WrongAnswerError("exit", detail)
    stages = plan.routes[attempt.send.route].stages
    holder = next(stage for stage in stages if stage.first <= rule.block < stage.last)
    before = f"{holder.device}[{holder.first}:{rule.block + 1})"
    came = "".join(f"{trace.device}[{trace.first}:{trace.last})" for trace in header.trace[-1:]) or "nobody"
    if came != before:
        detail = f"{header.request} left at exit {rule.name} after {came} computed; before that exit is {before}"
        raise WrongAnswerError("exit", detail)


def _check_outputs(header: FrameHeader, card: ModelCard) -> None:
    """Whether the answer has the model's outputs, from what its header declares; nothing is decoded.

    Raises:
        WrongAnswerError: other names, element types or shapes.
    """
    given = {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors}
    if given != {spec.name: (spec.dtype, spec.shape) for spec in card.outputs}:
        expected = ", ".join(map(str, card.outputs))
        came = ", ".join(f"{one.name:.40} {one.dtype}{list(one.shape)}" for one in header.tensors[:4]) or "no tensor"
        raise WrongAnswerError("outputs", f"{card.name} gives {expected}; given: {came}")


def _is_large(frame: Frame) -> bool:
    """Whether decoding takes long enough to be kept off the event loop: by what it reads or by what it makes."""
    return max(frame.nbytes, sum(tensor.decoded_bytes for tensor in frame.header.tensors)) > LARGE_BYTES


def _decode(frame: Frame) -> dict[str, Array]:
    """The arrays of an answer.

    Raises:
        FrameError: its bytes are not what they claim, or there is no memory for them.
    """
    try:
        return frame.arrays()
    except MemoryError as error:
        raise FrameError("memory", f"no memory to decode an answer to {frame.header.request}") from error
