"""A request that its submitter holds: what was asked, how it was sent, and who awaits its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from schemas.codec import Array
from schemas.frame_header import FrameHeader
from stageline.answers import Attempt, AttemptKey
from stageline.receipts import Answer, Receipt, RequestFailedError


@dataclass(slots=True)
class Pending:
    """One request without a result. Times are those of the event loop."""

    tensors: dict[str, Array]
    card_sha: str
    accepted_at: float
    deadline: float
    traceparent: str
    result: asyncio.Future[Answer]
    attempts: dict[AttemptKey, Attempt] = field(default_factory=dict)
    sending: asyncio.Task[None] | None = None
    digest: bytes = b""
    """Of the tensors, where the answer is to be cached."""

    def stop_sending(self) -> None:
        """An attempt that an outage still holds up is not sent any more."""
        if self.sending is not None:
            self.sending.cancel()

    def fail(self, error: RequestFailedError) -> None:
        """Tell whoever still waits."""
        if not self.result.done():
            self.result.set_exception(error)

    def resolve(self, answer: Answer) -> None:
        """Give it to whoever still waits."""
        if not self.result.done():
            self.result.set_result(answer)

    def answer(self, header: FrameHeader, outputs: dict[str, Array], attempt: Attempt, now: float) -> Answer:
        """The answer to `attempt`, which came `now` with this header, and its receipt."""
        send = attempt.send
        shared = send.plan.routes[send.route].side_by_side
        receipt = Receipt(
            request=header.request,
            deployment=header.deployment,
            generation=header.generation,
            route=f"r{send.route}: {send.plan.routes[send.route]}",
            attempts=len({one.send.attempt for one in self.attempts.values()}),
            latency_ms=(now - self.accepted_at) * 1000,
            held_ms=(attempt.at - self.accepted_at) * 1000,
            stages=header.trace,
            exit=header.exit,
            bands=min(len(shared.bands), len(header.trace)) if shared else 0,
        )
        return Answer(header.request, outputs, receipt, attempt.card.labels)
