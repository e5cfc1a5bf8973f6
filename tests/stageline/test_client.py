"""The client on a real broker, against a line that answers, fails, doubles, dawdles and dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from broker.errors import BrokerUnreachableError
from models.pictures import UnreadablePictureError
from schemas.base import InvalidNameError
from schemas.deployment import Decision
from schemas.frame import encode_frame
from schemas.frame_header import ErrorCode
from schemas.model import Preprocess
from schemas.topics import ANSWER, PLAN_DECISION
from stageline.client import Client
from stageline.inputs import WrongInputError
from stageline.patience import Patience
from stageline.receipts import RequestFailedError
from stageline.sync_client import SyncClient

X = np.arange(4, dtype=np.float32).reshape(1, 4)
QUICK = Patience(floor_s=0.15, grace_s=0.15)
OpenClient = Callable[..., Client]


@pytest.fixture
def client_of(broker: EmbeddedBroker, root: str) -> OpenClient:
    def make(**more: object) -> Client:
        settings = {"deployment": "d", "deadline_s": 10.0, "patience": QUICK, **more}
        return Client(broker.url, root=root, **settings)

    return make


async def test_a_request_is_answered_with_a_receipt(line, client_of) -> None:
    await line.serve("a", "b")
    async with client_of() as client:
        answer = await client.submit(X, traceparent="00-abc-def-01")
    assert np.array_equal(answer.output, 2 * X)
    assert [one.label for one in answer.top(2)] == ["dog", "cat"]
    assert answer.receipt.route in ("r0: a[0:1)", "r1: b[0:1)")
    assert (answer.receipt.generation, answer.receipt.attempts) == (1, 1)
    assert answer.receipt.latency_ms > answer.receipt.held_ms >= 0
    assert client.audit.as_dict() == {
        "submitted": 1, "answered": 1, "failed": 0, "open": 0, "lost": 0, "resent": 0, "duplicates_dropped": 0,
        "late_dropped": 0, "cached": 0,
    }  # fmt: skip
    (header,) = line.seen
    assert header.traceparent == "00-abc-def-01"
    assert 9000 < header.budget_ms <= 10_000


async def test_requests_spread_over_the_routes_and_never_exceed_their_windows(line, client_of) -> None:
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def count(fake, delivery: FrameDelivery) -> None:
        device = delivery.parameters["device"]
        under_way[device] += 1
        most[device] = max(most[device], under_way[device])
        await asyncio.sleep(0.002)
        under_way[device] -= 1
        await fake.answer(delivery)

    line.behaviour = count
    await line.serve("a", "b", window=3)
    async with client_of() as client:
        answers = await asyncio.gather(*(client.submit(X * i) for i in range(60)))
    assert all(np.array_equal(one.output, 2 * X * i) for i, one in enumerate(answers))
    assert max(most.values()) <= 3
    assert set(Counter(header.route for header in line.seen)) == {0, 1}


async def test_a_client_that_starts_before_the_plan_waits_for_it(line, client_of) -> None:
    async with client_of() as client:
        waiting = asyncio.create_task(client.submit(X))
        await asyncio.sleep(0)
        await line.serve("a")
        assert np.array_equal((await waiting).output, 2 * X)


async def test_without_a_plan_the_error_says_what_to_do(line, client_of) -> None:
    async with client_of() as client:
        with pytest.raises(
            RequestFailedError, match=r"nothing is deployed as 'd' \(`stageline deploy MODEL --name d`\)"
        ):
            await client.submit(X, deadline_s=0.1)


async def test_without_a_plan_the_error_quotes_the_planner(line, client_of) -> None:
    decision = Decision(deployment="d", generation=0, requested=0.0, state="failed", error="pi4 lacks 40 MB of memory")
    await line.bus.publish(PLAN_DECISION, decision, deployment="d")
    async with client_of() as client:
        with pytest.raises(RequestFailedError, match="pi4 lacks 40 MB of memory") as caught:
            await client.submit(X, deadline_s=0.3)
    assert caught.value.reason == "no-plan"


async def test_where_nothing_could_replace_a_dead_plan_the_error_quotes_the_planner(line, client_of) -> None:
    async def silent(_fake, _delivery: FrameDelivery) -> None:
        pass

    line.behaviour = silent
    await line.serve("a")
    decision = Decision(deployment="d", generation=0, requested=0.0, state="failed", error="pi4 lacks 40 MB of memory")
    await line.bus.publish(PLAN_DECISION, decision, deployment="d")
    async with client_of() as client:
        with pytest.raises(
            RequestFailedError, match=r"no answer within .*; 'd' has no plan: pi4 lacks 40 MB"
        ) as caught:
            await client.submit(X, deadline_s=0.5)
    assert caught.value.reason == "deadline"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (X.astype(np.float64), r"expected x float32\[1x4\], given float64\[1x4\]"),
        (np.zeros((2, 3), np.float32), r"expected x float32\[1x4\], given float32\[2x3\]"),
        ({"z": X}, "expected inputs x; given z"),
        ({}, "expected inputs x; given nothing"),
        ("cat.jpg", "takes no pictures"),
        (3, "expected arrays or a picture, given int"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_before_anything_is_sent(line, client_of, given, says) -> None:
    await line.serve("a")
    async with client_of() as client:
        with pytest.raises(WrongInputError, match=says):
            await client.submit(given)
        assert client.audit.submitted == 0
    assert line.seen == []


async def test_a_missing_batch_axis_is_added(line, client_of) -> None:
    await line.serve("a")
    async with client_of() as client:
        assert np.array_equal((await client.submit(X[0])).output, 2 * X)


async def test_what_is_not_answered_is_sent_again_under_the_same_id(line, client_of) -> None:
    async def forgetful(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.header.attempt:
            await fake.answer(delivery)

    line.behaviour = forgetful
    await line.serve("a", "b")
    async with client_of() as client:
        answer = await client.submit(X)
    assert answer.receipt.attempts == 2
    first, second = line.seen
    assert first.request == second.request
    assert first.route != second.route


async def test_doubled_answers_are_shown_once_and_counted(line, client_of) -> None:
    async def double(fake, delivery: FrameDelivery) -> None:
        await fake.answer(delivery)
        await fake.answer(delivery)

    line.behaviour = double
    await line.serve("a")
    async with client_of() as client:
        for _ in range(6):
            await client.submit(X)
        # Answers come in order: with the sixth here, the doubles of the first five were.
        assert client.audit.duplicates_dropped >= 5
        assert (client.audit.answered, client.audit.lost) == (6, 0)


async def test_requests_of_a_device_that_dies_go_to_the_others_at_once(line, client_of) -> None:
    async def dead_a(fake, delivery: FrameDelivery) -> None:
        if delivery.parameters["device"] != "a":
            await fake.answer(delivery)

    line.behaviour = dead_a
    await line.serve("a", "b", window=4)
    async with client_of(patience=Patience(floor_s=60)) as client:
        requests = [asyncio.create_task(client.submit(X)) for _ in range(8)]
        await line.until_seen(8)
        await line.die("a")
        await asyncio.gather(*requests)
        assert client.audit.resent == sum(header.route == 0 for header in line.seen) > 0


async def test_a_new_generation_takes_over_and_nothing_is_lost(line, client_of) -> None:
    stale: list[int] = []

    async def only_the_newest(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.header.generation == 2:
            await fake.answer(delivery)
        else:
            stale.append(delivery.frame.header.attempt)

    line.behaviour = only_the_newest
    await line.serve("a", window=3)
    async with client_of(patience=Patience(floor_s=60, grace_s=0.1)) as client:
        requests = [asyncio.create_task(client.submit(X)) for _ in range(10)]
        await line.until_seen(3)
        await line.serve("b", generation=2)
        answers = await asyncio.gather(*requests)
        assert {one.receipt.generation for one in answers} == {2}
    assert len(stale) == 3


async def test_a_redeployed_model_with_other_inputs_fails_what_no_longer_fits(line, client_of, make_card) -> None:
    async def only_the_newest(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.header.generation == 2:
            await fake.answer(delivery)

    line.behaviour = only_the_newest
    await line.serve("a")
    async with client_of(patience=Patience(floor_s=60, grace_s=0.1)) as client:
        request = asyncio.create_task(client.submit(X))
        await line.until_seen(1)
        wider = np.zeros((1, 8), np.float32)
        await line.serve("a", generation=2, card=make_card(shape=wider.shape, name="wider"))
        with pytest.raises(RequestFailedError, match=r"expected x float32\[1x8\], given float32\[1x4\]"):
            await request
        await client.submit(wider)
        assert (client.audit.answered, client.audit.failed, client.audit.lost) == (1, 1, 0)


@pytest.mark.parametrize("code", ["bad-input", "expired", "too-large"])
async def test_a_final_fault_becomes_the_error_with_its_reason_and_device(line, client_of, code: ErrorCode) -> None:
    line.behaviour = lambda fake, delivery: fake.fail(delivery, code, "no use")
    await line.serve("a")
    async with client_of() as client:
        with pytest.raises(RequestFailedError, match="no use") as caught:
            await client.submit(X)
        assert (caught.value.reason, caught.value.device) == (code, "a")
        assert (client.audit.failed, client.audit.lost) == (1, 0)


async def test_a_stage_that_fails_is_tried_elsewhere(line, client_of) -> None:
    async def a_is_broken(fake, delivery: FrameDelivery) -> None:
        if delivery.parameters["device"] == "a":
            await fake.fail(delivery, "stage-failed")
        else:
            await fake.answer(delivery)

    line.behaviour = a_is_broken
    await line.serve("a", "b")
    async with client_of() as client:
        answers = [await client.submit(X) for _ in range(4)]
    assert {one.receipt.route for one in answers} == {"r1: b[0:1)"}


async def test_a_deadline_is_kept_and_the_error_tells_what_was_tried(line, client_of) -> None:
    async def silent(fake, delivery: FrameDelivery) -> None:
        """Says nothing."""

    line.behaviour = silent
    await line.serve("a")
    async with client_of() as client:
        with pytest.raises(RequestFailedError, match=r"no answer within 0\.\d s; sent 2 times, last over r0: a\[0:1\)"):
            await client.submit(X, deadline_s=0.4)
        assert (client.audit.failed, client.audit.lost) == (1, 0)


async def test_nobody_listening_is_tried_again_until_somebody_does(line, client_of, running_line, broker, root) -> None:
    await line.serve("a", deployment="later")
    async with client_of(deployment="later") as client:
        request = asyncio.create_task(client.submit(X))
        await client.ready()
        async with running_line(broker, root, deployment="later") as second:
            answer = await request
            assert len(second.seen) == 1
    assert answer.receipt.attempts == 1


async def test_malformed_answers_are_counted_and_dropped(line, client_of) -> None:
    async def garbled(fake, delivery: FrameDelivery) -> None:
        submitter = delivery.frame.header.submitter
        await fake.bus.send_frame(ANSWER, b"no frame", expiry_s=5, correlation="x", submitter=submitter)
        await fake.answer(delivery)

    line.behaviour = garbled
    await line.serve("a")
    async with client_of() as client:
        assert np.array_equal((await client.submit(X)).output, 2 * X)


async def test_answers_that_nobody_asked_for_or_that_lack_outputs_are_dropped(line, client_of) -> None:
    async def forged(fake, delivery: FrameDelivery) -> None:
        header = delivery.frame.header
        reply = header.model_copy(update={"kind": "answer", "tensors": ()})
        for update, outputs in (
            ({"request": "stranger"}, {"y": X}),
            ({"attempt": 7}, {"y": X}),
            ({}, {"z": X}),
        ):
            payload = encode_frame(reply.model_copy(update=update), outputs)
            await fake.bus.send_frame(ANSWER, payload, expiry_s=5, correlation="x", submitter=header.submitter)
        await fake.answer(delivery)

    line.behaviour = forged
    await line.serve("a")
    async with client_of() as client:
        assert np.array_equal((await client.submit(X)).output, 2 * X)
        assert client.rejected == {"attempt": 1, "outputs": 1}
        assert (client.audit.answered, client.audit.late_dropped, client.audit.lost) == (1, 1, 0)


async def test_a_user_who_may_not_submit_is_told_so_at_once(root: str, running_line) -> None:
    acl = f"topic read {root}/#\ntopic write {root}/answer/+\n" + "".join(
        f"topic write {root}/{state}\n" for state in ("model/+/card", "device/+/stages", "plan/+/current")
    )
    with EmbeddedBroker(files={"acl_file": acl}) as broker:
        async with running_line(broker, root) as line:
            await line.serve("a")
            async with Client(broker.url, deployment="d", root=root, deadline_s=10) as client:
                with pytest.raises(RequestFailedError, match="Check its access rules") as caught:
                    await client.submit(X)
    assert caught.value.reason == "not-allowed"


async def test_a_frame_that_the_broker_will_not_pass_is_told_with_the_limit(root: str, running_line, make_card) -> None:
    with EmbeddedBroker({"max_packet_size": "20000"}) as broker:
        async with running_line(broker, root) as line:
            await line.serve("a", card=make_card(shape=(1, 100, 100)))
            async with Client(broker.url, deployment="d", root=root, deadline_s=10) as client:
                with pytest.raises(RequestFailedError, match="max_packet_size") as caught:
                    await client.submit(np.zeros((1, 100, 100), np.float32))
    assert caught.value.reason == "too-large"


async def test_pictures_are_read_and_one_that_cannot_be_read_fails_alone(
    line, client_of, make_card, tmp_path: Path
) -> None:
    await line.serve("a", card=make_card(shape=(1, 8, 8, 3), dtype="uint8", preprocess=Preprocess(resize=8, crop=8)))
    paths = []
    for index in range(5):
        paths.append(tmp_path / f"{index}.png")
        Image.new("RGB", (20, 12), (index * 50, 0, 0)).save(paths[-1])
    paths[2].write_bytes(b"this is no picture")
    async with client_of() as client:
        results = [one async for one in client.submit_many([*paths, Image.new("RGB", (9, 9))])]
        assert client.audit.answered == 5
    assert [one.index for one in results] == list(range(6))
    assert isinstance(results[2].error, UnreadablePictureError)
    assert [one.answer is not None for one in results] == [True, True, False, True, True, True]


async def test_many_come_as_they_finish_when_order_does_not_matter(line, client_of) -> None:
    held = asyncio.Event()

    async def first_is_slow(fake, delivery: FrameDelivery) -> None:
        if delivery.frame.arrays()["x"][0, 1] == 0:
            await held.wait()
        await fake.answer(delivery)

    async def items() -> AsyncIterator[np.ndarray]:
        for number in range(4):
            yield X * number

    line.behaviour = first_is_slow
    await line.serve("a", window=2)
    async with client_of(patience=Patience(floor_s=60)) as client:
        order = []
        async for result in client.submit_many(items(), in_order=False, at_once=2):
            order.append(result.index)
            if len(order) == 3:
                held.set()
    assert order == [1, 2, 3, 0]


async def test_large_tensors_go_and_come_off_the_loop(line, client_of, make_card) -> None:
    large = np.random.default_rng(0).random((1, 3, 400, 400), np.float32)
    await line.serve("a", card=make_card(shape=large.shape))
    async with client_of() as client:
        answer = await client.submit(large)
    assert np.array_equal(answer.output, 2 * large.reshape(-1)[:4].reshape(1, 4))


async def test_closing_fails_what_is_still_open(line, client_of) -> None:
    async def silent(fake, delivery: FrameDelivery) -> None:
        """Says nothing."""

    line.behaviour = silent
    await line.serve("a")
    async with client_of(patience=Patience(floor_s=60)) as client:
        request = asyncio.create_task(client.submit(X))
        await line.until_seen(1)
    with pytest.raises(RequestFailedError, match="closed"):
        await request
    assert (client.audit.failed, client.audit.open, client.audit.lost) == (1, 0, 0)
    with pytest.raises(RequestFailedError, match="closed"):
        await client.submit(X)


async def test_a_request_whose_submitter_stops_waiting_is_accounted_for(line, client_of) -> None:
    async def silent(fake, delivery: FrameDelivery) -> None:
        """Says nothing."""

    line.behaviour = silent
    await line.serve("a")
    async with client_of() as client:
        request = asyncio.create_task(client.submit(X))
        await line.until_seen(1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (client.audit.failed, client.audit.open, client.audit.lost) == (1, 0, 0)


async def test_a_broker_that_dies_and_comes_back_loses_no_request(root: str, running_line) -> None:
    with EmbeddedBroker() as broker:
        async with running_line(broker, root) as line:
            await line.serve("a")
            async with Client(broker.url, deployment="d", root=root, patience=QUICK, deadline_s=20) as client:
                await client.submit(X)
                await asyncio.to_thread(broker.kill)
                requests = [asyncio.create_task(client.submit(X * i)) for i in range(6)]
                await asyncio.to_thread(broker.restart)
                answers = await asyncio.gather(*requests)
                assert all(np.array_equal(one.output, 2 * X * i) for i, one in enumerate(answers))
                assert (client.audit.answered, client.audit.lost) == (7, 0)


async def test_an_unreachable_broker_and_a_bad_name_are_said_at_once() -> None:
    with pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:9"):
        async with Client("mqtt://127.0.0.1:9", deployment="d", connect_timeout_s=0.2):
            pass
    with pytest.raises(InvalidNameError):
        Client("mqtt://127.0.0.1:9", deployment="no/slashes")


async def test_the_blocking_client_does_the_same_from_a_thread(line, broker: EmbeddedBroker, root: str) -> None:
    await line.serve("a")

    def use() -> None:
        with SyncClient(broker.url, deployment="d", root=root, deadline_s=10) as client:
            assert np.array_equal(client.submit(X).output, 2 * X)
            results = list(client.submit_many([X, X * 2, np.zeros(9, np.float32)]))
            assert [one.error is None for one in results] == [True, True, False]
            assert client.audit.answered == 3

    await asyncio.to_thread(use)
