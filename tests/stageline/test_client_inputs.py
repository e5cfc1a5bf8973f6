"""What the client takes as an input, and what it refuses before anything is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broker.delivery import FrameDelivery
from models.pictures import UnreadablePictureError
from schemas.model import Preprocess
from stageline.inputs import WrongInputError
from stageline.patience import Patience
from stageline.receipts import RequestFailedError

X = np.arange(4, dtype=np.float32).reshape(1, 4)


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


async def test_large_tensors_go_and_come_off_the_loop(line, client_of, make_card) -> None:
    large = np.random.default_rng(0).random((1, 3, 400, 400), np.float32)
    await line.serve("a", card=make_card(shape=large.shape))
    async with client_of() as client:
        answer = await client.submit(large)
    assert np.array_equal(answer.output, 2 * large.reshape(-1)[:4].reshape(1, 4))
