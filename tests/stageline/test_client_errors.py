"""A request that cannot be answered ends with one error, before its deadline, that says why and what to do."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest

from broker.delivery import FrameDelivery
from broker.embedded import EmbeddedBroker
from broker.errors import BrokerUnreachableError
from schemas.base import InvalidNameError
from schemas.deployment import Decision
from schemas.frame_header import ErrorCode
from schemas.topics import PLAN_DECISION
from stageline.client import Client
from stageline.patience import Patience
from stageline.receipts import RequestFailedError

X = np.arange(4, dtype=np.float32).reshape(1, 4)


async def decided(client: Client) -> None:
    """Until the client has heard what the planner decided."""
    async with asyncio.timeout(10):
        while client.watch.decision is None:
            await client.watch.changed()


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
        await decided(client)
        with pytest.raises(RequestFailedError, match="pi4 lacks 40 MB of memory") as caught:
            await client.submit(X, deadline_s=0.1)
    assert caught.value.reason == "no-plan"


async def test_where_nothing_could_replace_a_dead_plan_the_error_quotes_the_planner(line, client_of) -> None:
    async def silent(_fake, _delivery: FrameDelivery) -> None:
        pass

    line.behaviour = silent
    await line.serve("a")
    decision = Decision(deployment="d", generation=0, requested=0.0, state="failed", error="pi4 lacks 40 MB of memory")
    await line.bus.publish(PLAN_DECISION, decision, deployment="d")
    async with client_of() as client:
        await decided(client)
        await client.ready()
        with pytest.raises(
            RequestFailedError, match=r"no answer within .*; 'd' has no plan: pi4 lacks 40 MB"
        ) as caught:
            await client.submit(X, deadline_s=0.2)
    assert caught.value.reason == "deadline"


@pytest.mark.parametrize("code", ["bad-input", "expired", "too-large"])
async def test_a_final_fault_becomes_the_error_with_its_reason_and_device(line, client_of, code: ErrorCode) -> None:
    line.behaviour = lambda fake, delivery: fake.fail(delivery, code, "no use")
    await line.serve("a")
    async with client_of() as client:
        with pytest.raises(RequestFailedError, match="no use") as caught:
            await client.submit(X)
        assert (caught.value.reason, caught.value.device) == (code, "a")
        assert (client.audit.failed, client.audit.lost) == (1, 0)


async def test_a_deadline_is_kept_and_the_error_tells_what_was_tried(line, client_of) -> None:
    async def silent(fake, delivery: FrameDelivery) -> None:
        """Says nothing."""

    line.behaviour = silent
    await line.serve("a")
    async with client_of(patience=Patience(floor_s=0.15), deadline_s=60.0) as client:
        await client.ready()
        with pytest.raises(RequestFailedError, match=r"; sent .*, last over r0: a\[0:1\)") as it:
            await client.submit(X, deadline_s=0.4)
        waited = re.search(r"no answer within (\d+\.\d) s;", str(it.value))
        assert waited is not None, it.value
        assert 0.4 <= float(waited[1]) < 20, "the request's own deadline, not the client's"
        # Usually it is sent again once; a broker that is slow to take it leaves no time for that.
        times = f"{1 + client.audit.resent} times" if client.audit.resent else "once"
        assert f"; sent {times}, last" in str(it.value)
        assert (client.audit.failed, client.audit.lost) == (1, 0)


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


async def test_an_unreachable_broker_and_a_bad_name_are_said_at_once() -> None:
    with pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:9"):
        async with Client("mqtt://127.0.0.1:9", deployment="d", connect_timeout_s=0.2):
            pass
    with pytest.raises(InvalidNameError):
        Client("mqtt://127.0.0.1:9", deployment="no/slashes")
