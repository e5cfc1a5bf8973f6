"""Whoever may publish to a submitter can claim anything; only what was asked for is shown, or even decoded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest
import zstandard
from made_up_plans import made_up_plan

from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from schemas.codec import Array, EncodedTensor, TensorHeader
from schemas.frame import Frame, encode_frame, open_frame, pack_frame
from schemas.frame_header import FrameFault, FrameHeader, StageTrace
from schemas.model import ModelCard, TensorSpec
from schemas.plan import ExitRule
from schemas.topics import ANSWER
from stageline.answers import Answers, Attempt, AttemptKey, Listener
from stageline.client import Client
from stageline.patience import Patience
from stageline.sending import Send

X = np.arange(4, dtype=np.float32).reshape(1, 4)
WRONG = np.full((1, 4), 9, np.float32)
HEADER = FrameHeader(kind="answer", request="r", submitter="s", deployment="d", generation=1, attempt=2, budget_ms=1e3)
BIG = (1, 16, 1024, 1024)


def zeros_packed(shape: tuple[int, ...]) -> EncodedTensor:
    """A tensor `y` of zeros, tiny on the wire."""
    data = zstandard.ZstdCompressor().compress(bytes(int(np.prod(shape)) * 4))
    return EncodedTensor(
        TensorHeader(name="y", dtype="float32", shape=shape, zstd=True, nbytes=len(data)), memoryview(data)
    )


class Heard:
    """What `Answers` passes on; request `r` is open, sent as attempt 2 over route 0 of generation 1."""

    def __init__(self, card: ModelCard) -> None:
        plan = made_up_plan(
            "a[0:2) -> b[2:5)",
            deployment="d",
            model=card.name,
            card_sha=card.sha256,
            exits=(ExitRule(name="early", block=1, threshold=0.5), ExitRule(name="middle", block=3, threshold=0.5)),
        )
        attempt = Attempt(Send("r", 2, plan, 0, 1000.0), 0.0, card)
        self.open: dict[str, dict[AttemptKey, Attempt]] = {"r": {attempt.key: attempt}}
        self.outputs: list[dict[str, Array]] = []
        self.faults: list[FrameHeader] = []
        self.strays: list[FrameHeader] = []
        self.answers = Answers(
            "s",
            "d",
            Listener(
                self.open.get,
                lambda header, outputs, attempt, now: self.outputs.append(outputs),
                lambda header, now: self.faults.append(header),
                lambda header, now: self.strays.append(header),
            ),
        )

    async def take(self, *frames: Frame) -> None:
        """Returns when all of them are dealt with."""

        async def deliveries():
            for frame in frames:
                yield FrameDelivery(frame, {}, None, 0.0, lambda: None)

        async with asyncio.timeout(30):
            await self.answers.run(deliveries())


@pytest.fixture
def heard(make_card: Callable[..., ModelCard]) -> Heard:
    return Heard(make_card())


@pytest.fixture
def heard_big(make_card: Callable[..., ModelCard]) -> Heard:
    card = make_card()
    return Heard(card.model_copy(update={"outputs": (TensorSpec(name="y", dtype="float32", shape=BIG),)}))


def frame(tensors: dict[str, Array] | None = None, **update: object) -> Frame:
    return open_frame(encode_frame(HEADER.model_copy(update=update), tensors))


def trace(device: str, first: int, last: int) -> StageTrace:
    return StageTrace(
        device=device, first=first, last=last, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=16, bytes_out=16
    )


EARLY, MIDDLE = (trace("a", 0, 2),), (trace("a", 0, 2), trace("b", 2, 4))


async def test_an_answer_of_an_exit_that_the_plan_opens_is_taken(heard: Heard) -> None:
    await heard.take(
        frame({"y": X}, exit="early", trace=EARLY),
        frame({"y": X}, exit="middle", trace=MIDDLE),
    )
    assert [list(outputs) for outputs in heard.outputs] == [["y"], ["y"]]


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        (frame({"y": WRONG.reshape(4, 1)}), "outputs"),
        (frame({"y": WRONG.astype(np.float64)}), "outputs"),
        (frame({"y": WRONG.view(np.int32)}), "outputs"),
        (frame({"y": WRONG, "z": WRONG}), "outputs"),
        (frame({"z": WRONG}), "outputs"),
        (frame(), "outputs"),
        (frame({"y": WRONG}, deployment="other"), "deployment"),
        (frame({"y": WRONG}, generation=2), "attempt"),
        (frame({"y": WRONG}, route=1), "attempt"),
        (frame({"y": WRONG}, attempt=1), "attempt"),
        (frame({"y": WRONG}, exit="late"), "exit"),
        (frame({"y": WRONG}, exit="early"), "exit"),
        (frame({"y": WRONG}, exit="middle", trace=EARLY), "exit"),
        (frame({"y": WRONG}, exit="early", trace=MIDDLE), "exit"),
        (frame({"y": WRONG}, exit="early", trace=(trace("b", 0, 2),)), "exit"),
        (frame({"y": WRONG}, exit="middle", trace=(trace("b", 2, 5),)), "exit"),
        (frame({"y": WRONG.reshape(4, 1)}, exit="early", trace=EARLY), "outputs"),
        (frame({"y": WRONG}, kind="work"), "kind"),
        (frame(kind="error"), "kind"),
        (frame(kind="work", request="unknown"), "kind"),
        (
            frame(kind="error", generation=2, fault=FrameFault(code="bad-input", detail="so it says")),
            "attempt",
        ),
    ],
)
async def test_what_is_no_answer_to_what_was_asked_is_counted_and_the_right_one_still_shown(
    heard: Heard, forged: Frame, reason: str
) -> None:
    await heard.take(forged, frame({"y": 2 * X}))
    assert heard.answers.rejections.counts == {reason: 1}
    (outputs,) = heard.outputs
    assert np.array_equal(outputs["y"], 2 * X)
    assert not heard.faults


async def test_a_fault_of_the_attempt_that_was_sent_is_passed_on(heard: Heard) -> None:
    await heard.take(frame(kind="error", fault=FrameFault(code="bad-input", detail="no use")))
    assert [one.attempt for one in heard.faults] == [2]
    assert not heard.answers.rejections.counts


@pytest.mark.parametrize("request_id", ["unknown", "r"])
async def test_nothing_unasked_for_is_decoded(heard: Heard, request_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Frame] = []
    monkeypatch.setattr(Frame, "arrays", lambda self: decoded.append(self) or {})
    bomb = open_frame(pack_frame(HEADER.model_copy(update={"request": request_id}), [zeros_packed(BIG)]))
    assert bomb.nbytes < 16_384 < bomb.header.tensors[0].decoded_bytes
    await heard.take(bomb)
    assert not decoded
    assert len(heard.strays) + heard.answers.rejections.counts["outputs"] == 1


async def test_what_is_large_when_decoded_is_decoded_off_the_loop_and_only_a_few_at_once(
    heard_big: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, both = threading.Lock(), threading.Barrier(2)
    now, most, threads = 0, 0, set()

    def arrays(self: Frame) -> dict[str, Array]:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
            threads.add(threading.current_thread())
        both.wait(timeout=20)  # two at a time there must be
        with lock:
            now -= 1
        return {}

    monkeypatch.setattr(Frame, "arrays", arrays)
    packed = open_frame(pack_frame(HEADER, [zeros_packed(BIG)]))
    await heard_big.take(*[packed] * 6)
    assert len(heard_big.outputs) == 6
    assert most == 2
    assert threading.current_thread() not in threads


def _damaged(good: EncodedTensor) -> Frame:
    data = memoryview(bytes(len(good.data)))
    return open_frame(pack_frame(HEADER, [EncodedTensor(good.header, data)]))


async def test_bytes_that_do_not_decode_are_one_rejected_answer(heard: Heard, heard_big: Heard) -> None:
    await heard.take(_damaged(zeros_packed((1, 4))), frame({"y": 2 * X}))
    assert heard.answers.rejections.counts == {"tensor": 1}
    assert len(heard.outputs) == 1
    await heard_big.take(_damaged(zeros_packed(BIG)))
    assert heard_big.answers.rejections.counts == {"tensor": 1}


@pytest.mark.parametrize("error", [MemoryError, ValueError])
async def test_an_answer_for_which_there_is_no_memory_is_one_rejected_answer(
    heard: Heard, heard_big: Heard, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Array:
        raise error("no")

    monkeypatch.setattr("schemas.frame.decode_tensor", fail)
    reason = {"memory" if error is MemoryError else "tensor": 1}
    await heard.take(frame({"y": X}))
    assert heard.answers.rejections.counts == reason
    await heard_big.take(open_frame(pack_frame(HEADER, [zeros_packed(BIG)])))
    assert heard_big.answers.rejections.counts == reason


async def test_a_client_survives_forgeries_and_shows_the_right_answer(line, broker: EmbeddedBroker, root: str) -> None:
    async def forged(fake, delivery: FrameDelivery) -> None:
        reply = delivery.frame.header.model_copy(update={"kind": "answer", "tensors": ()})
        good = zeros_packed((1, 4))
        for payload in (
            encode_frame(reply, {"y": WRONG.reshape(2, 2)}),
            encode_frame(reply, {"y": WRONG.astype(np.float64)}),
            encode_frame(reply.model_copy(update={"generation": reply.generation + 1}), {"y": WRONG}),
            encode_frame(reply.model_copy(update={"deployment": "other"}), {"y": WRONG}),
            encode_frame(reply.model_copy(update={"kind": "error"})),
            encode_frame(reply.model_copy(update={"kind": "work"}), {"y": WRONG}),
            pack_frame(reply, [EncodedTensor(good.header, memoryview(bytes(len(good.data))))]),
        ):
            await fake.bus.send_frame(ANSWER, payload, expiry_s=5, correlation="x", submitter=reply.submitter)
        await fake.answer(delivery)

    line.behaviour = forged
    await line.serve("a")
    async with Client(broker.url, deployment="d", root=root, patience=Patience(floor_s=60)) as client:
        assert np.array_equal((await client.submit(X, deadline_s=10)).output, 2 * X)
        assert client.rejected == {"outputs": 2, "attempt": 1, "deployment": 1, "kind": 2, "tensor": 1}
        assert (client.audit.answered, client.audit.resent, client.audit.lost) == (1, 0, 0)
