"""A cached answer is the answer: never another model's, another codec's, or one that somebody wrote into since."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from made_up_plans import made_up_plan

from broker.embedded import EmbeddedBroker
from schemas.codec import Array
from schemas.plan import Plan, Route, Stage
from stageline.answer_cache import AnswerCache, input_digest, losses, repeated
from stageline.receipts import Answer, Receipt
from stageline.sync_client import SyncClient

X = np.arange(4, dtype=np.float32).reshape(1, 4)


def plan_of(*, card: str = "a" * 64, codec: str = "fp32", cut: int = 2, generation: int = 1) -> Plan:
    stages = (
        Stage.model_validate({"device": "pi4", "first": 0, "last": cut, "codec": codec}),
        Stage(device="nano", first=cut, last=5),
    )
    return made_up_plan((Route(stages=stages),), deployment="d", generation=generation, model="m", card_sha=card)


def answer_of(value: float, *, request: str = "q-1", size: int = 4) -> Answer:
    receipt = Receipt(
        request=request, deployment="d", generation=1, route="r0: pi4[0:2) -> nano[2:5)", attempts=1, latency_ms=30.0,
        held_ms=1.0, stages=(),
    )  # fmt: skip
    return Answer(request, {"y": np.full((1, size), value, np.float32)}, receipt, ("ant", "bee"))


def given(cache: AnswerCache, plan: Plan, digest: bytes) -> float | None:
    found = cache.find(plan, digest)
    return None if found is None else float(found.output.flat[0])


def test_a_change_of_plan_forgets_nothing_but_another_model_is_another_question() -> None:
    cache = AnswerCache(8)
    cache.keep(plan_of(), b"x", answer_of(1.0))
    assert given(cache, plan_of(generation=2, cut=3), b"x") == 1.0
    assert given(cache, plan_of(card="b" * 64), b"x") is None
    assert given(cache, plan_of(), b"y") is None


def test_what_came_through_a_lossy_codec_only_stands_for_the_same_codec_at_the_same_cut() -> None:
    cache = AnswerCache(8)
    cache.keep(plan_of(), b"x", answer_of(1.0))
    cache.keep(plan_of(codec="u8"), b"x", answer_of(2.0))
    assert given(cache, plan_of(codec="fp32+zstd"), b"x") == 1.0
    assert given(cache, plan_of(codec="u8"), b"x") == 2.0
    assert given(cache, plan_of(codec="u8+zstd", generation=7), b"x") == 2.0
    assert given(cache, plan_of(codec="u8", cut=3), b"x") is None
    assert given(cache, plan_of(codec="fp16"), b"x") is None
    assert (losses(plan_of()), losses(plan_of(codec="u8+zstd"))) == ((), ("u8@2",))


def test_writing_into_what_was_kept_or_given_changes_no_later_answer() -> None:
    cache = AnswerCache(8)
    first = answer_of(1.0)
    cache.keep(plan_of(), b"x", first)
    first.outputs["y"][...] = 7.0
    found = cache.find(plan_of(), b"x")
    assert found is not None
    found.outputs["y"][...] = 9.0
    assert given(cache, plan_of(), b"x") == 1.0


def test_the_answer_asked_for_longest_ago_goes_first() -> None:
    cache = AnswerCache(2)
    for digest in (b"1", b"2"):
        cache.keep(plan_of(), digest, answer_of(1.0))
    assert given(cache, plan_of(), b"1") is not None
    cache.keep(plan_of(), b"3", answer_of(1.0))
    assert [given(cache, plan_of(), digest) is not None for digest in (b"1", b"2", b"3")] == [True, False, True]
    assert (len(cache), cache.nbytes) == (2, 2 * 16)


def test_bytes_are_bounded_too_and_what_alone_is_too_large_is_not_kept() -> None:
    cache = AnswerCache(100, max_bytes=100)
    for number in range(50):
        cache.keep(plan_of(), bytes([number]), answer_of(number, size=10))
        assert cache.nbytes <= 100
    assert len(cache) == 2
    cache.keep(plan_of(), b"large", answer_of(1.0, size=26))
    cache.keep(plan_of(), bytes([49]), answer_of(3.0, size=5))
    assert given(cache, plan_of(), b"large") is None
    assert (len(cache), cache.nbytes, given(cache, plan_of(), bytes([49]))) == (2, 60, 3.0)
    with pytest.raises(ValueError, match="keeps nothing: leave it out"):
        AnswerCache(-1)


@pytest.mark.parametrize(
    "other",
    [
        {"x": X + 1},
        {"x": X.reshape(4, 1)},
        {"x": X.view(np.int32)},
        {"z": X},
        {"x": X, "z": X[:, :0]},
        {"x": X[:, :2], "z": X[:, 2:]},
    ],
)
def test_inputs_that_differ_in_anything_have_digests_that_differ(other: dict[str, Array]) -> None:
    assert input_digest(other) != input_digest({"x": X})


def test_equal_inputs_have_equal_digests_however_they_lie_in_memory() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    one: dict[str, Array] = {"x": np.asfortranarray(rows), "scale": np.array(2.0)}
    other: dict[str, Array] = {"scale": np.array(2.0), "x": rows}
    assert input_digest(one) == input_digest(other)


def test_the_receipt_of_a_repeated_answer_says_that_nothing_was_computed_for_it() -> None:
    receipt = repeated(answer_of(1.0), request="q-2", latency_ms=0.2).receipt
    assert (receipt.request, receipt.cached_from, receipt.attempts) == ("q-2", "q-1", 0)
    assert (receipt.line_ms, receipt.travel_ms, receipt.stages) == (0.0, 0.0, ())
    assert str(receipt) == "0.2 ms from the cache (answer to q-1 over r0: pi4[0:2) -> nano[2:5))"
    assert receipt.as_dict()["cached_from"] == "q-1"


async def test_a_client_with_a_cache_sends_an_input_once_and_counts_the_repeats_apart(line, client_of) -> None:
    await line.serve("a")
    async with client_of(cache=10) as client:
        first = await client.submit(X)
        first.outputs["y"] = np.zeros(1)
        again, other = await client.submit({"x": X.copy()}), await client.submit(X + 1)
    assert np.array_equal(again.output, 2 * X)
    assert np.array_equal(other.output, 2 * (X + 1))
    assert len(line.seen) == 2
    assert (again.receipt.cached_from, first.receipt.cached_from, other.receipt.cached_from) == (first.request, "", "")
    assert len({first.request, again.request, other.request}) == 3
    assert again.labels == first.labels
    audit = client.audit
    assert (audit.submitted, audit.answered, audit.cached, audit.lost) == (2, 2, 1, 0)


async def test_without_being_asked_for_nothing_is_cached(line, client_of) -> None:
    await line.serve("a")
    async with client_of() as client:
        answers = [await client.submit(X) for _ in range(2)]
    assert len(line.seen) == 2
    assert (client.audit.cached, [one.receipt.cached_from for one in answers]) == (0, ["", ""])


async def test_another_model_under_the_same_deployment_computes_anew(line, client_of, make_card) -> None:
    await line.serve("a")
    async with client_of(cache=10) as client:
        await client.submit(X)
        plan = await line.serve("a", generation=2, card=make_card(name="other"))
        async with asyncio.timeout(10):
            while client.watch.served is None or client.watch.served.plan.card_sha != plan.card_sha:
                await client.watch.changed()
        assert (await client.submit(X)).receipt.cached_from == ""
        assert (await client.submit(X)).receipt.cached_from != ""
    assert len(line.seen) == 2


async def test_an_input_that_is_changed_while_it_is_under_way_poisons_nothing(line, client_of) -> None:
    held = asyncio.Event()

    async def late(fake, delivery) -> None:
        await held.wait()
        await fake.answer(delivery)

    line.behaviour = late
    await line.serve("a")
    mine = X.copy()
    async with client_of(cache=10) as client:
        await client.ready()
        asking = asyncio.create_task(client.submit(mine))
        await asyncio.sleep(0)
        mine[...] = 50.0
        held.set()
        answer = await asking
        assert np.array_equal(answer.output, 2 * X)
        assert np.array_equal((await client.submit(X)).output, 2 * X)
        assert client.audit.cached == 1


async def test_a_cache_of_ones_own_outlives_its_client(line, client_of) -> None:
    await line.serve("a")
    cache = AnswerCache(10, max_bytes=1000)
    for _ in range(2):
        async with client_of(cache=cache) as client:
            answer = await client.submit(X)
    assert len(line.seen) == 1
    assert (answer.receipt.cached_from != "", client.audit.submitted, client.audit.cached) == (True, 0, 1)


async def test_the_client_that_waits_caches_too(line, broker: EmbeddedBroker, root: str) -> None:
    await line.serve("a")

    def work() -> tuple[int, int]:
        with SyncClient(broker.url, deployment="d", root=root, cache=4) as client:
            for _ in range(3):
                client.submit(X)
            return client.audit.submitted, client.audit.cached

    assert await asyncio.to_thread(work) == (1, 2)
