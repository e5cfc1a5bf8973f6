"""What a broker will not do is an error that says how to mend it, never a message that is silently gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from broker.bus import (
    BrokerRefusedError,
    BrokerUnfitError,
    BrokerUnreachableError,
    Bus,
    PublishRefusedError,
    TooLargeError,
)
from broker.embedded import EmbeddedBroker
from schemas.deployment import HubStatus
from schemas.topics import HUB_STATUS, STAGE

pytestmark = pytest.mark.timeout(60)
UP = HubStatus(online=True, boot_id="x")
LIMIT = 100_000


@pytest.fixture(scope="module")
def narrow_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"max_packet_size": str(LIMIT)}) as running:
        yield running


@pytest.fixture(scope="module")
def strict_broker() -> Iterator[EmbeddedBroker]:
    """Anybody may read and write below `open`, and only read below `closed`."""
    with EmbeddedBroker(files={"acl_file": "topic readwrite open/#\ntopic read closed/#\n"}) as running:
        yield running


@pytest.fixture(scope="module")
def guarded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    passwords = tmp_path_factory.mktemp("guarded") / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "pi4", "right"], check=True)
    files = {"password_file": passwords.read_text()}
    with EmbeddedBroker({"allow_anonymous": "false"}, files=files) as running:
        yield running


async def test_a_frame_beyond_the_brokers_limit_is_refused_before_it_is_sent(narrow_broker: EmbeddedBroker) -> None:
    async with Bus(narrow_broker.url, name="a") as bus:
        assert bus.max_packet_bytes == LIMIT
        with pytest.raises(TooLargeError, match=r"passes at most 100000\. Set `max_packet_size 67108864` in its"):
            await bus.send_frame(
                STAGE, bytes(LIMIT), expiry_s=1, correlation="q", deployment="d", generation=1, device="p", stage="s"
            )
        assert bus.connected


async def test_the_limit_is_met_to_the_byte(narrow_broker: EmbeddedBroker) -> None:
    async with Bus(narrow_broker.url, name="a", root="r") as bus, bus.subscribe_bytes("x") as messages:
        # Fixed header 1 + 3, topic 2 + 3, message id 2, properties 1.
        largest = LIMIT - 12
        await bus.publish_bytes("x", bytes(largest))
        with pytest.raises(TooLargeError, match=f"{LIMIT + 1} bytes"):
            await bus.publish_bytes("x", bytes(largest + 1))
        await bus.publish_bytes("x", b"still here")
        async with asyncio.timeout(10):
            # On the way to us it carries a subscription identifier, and mosquitto lets that pass.
            assert len((await anext(messages)).payload) == largest
            assert bytes((await anext(messages)).payload) == b"still here"


async def test_without_a_limit_the_protocols_own_is_told(root: str) -> None:
    with EmbeddedBroker({"max_packet_size": None}) as unlimited:
        async with Bus(unlimited.url, name="a", root=root) as bus:
            assert bus.max_packet_bytes == 268_435_455


async def test_a_message_that_access_rules_forbid_is_noticed(strict_broker: EmbeddedBroker) -> None:
    async with Bus(strict_broker.url, name="a", root="open") as allowed:
        await allowed.publish(HUB_STATUS, UP)
    async with Bus(strict_broker.url, name="a", root="closed") as forbidden:
        with pytest.raises(PublishRefusedError, match=r"closed/hub/status: Not authorized \(135\).*acl_file"):
            await forbidden.publish(HUB_STATUS, UP)
        with pytest.raises(PublishRefusedError):
            await forbidden.send_frame(
                STAGE, b"x", expiry_s=1, correlation="q", deployment="d", generation=1, device="p", stage="s"
            )
        assert forbidden.connected


async def test_a_wrong_password_is_told_at_once_and_never_printed(guarded_broker: EmbeddedBroker) -> None:
    host = guarded_broker.url.removeprefix("mqtt://")
    async with Bus(f"mqtt://pi4:right@{host}", name="a") as bus:
        assert bus.connected
    for url in (f"mqtt://pi4:wrong@{host}", guarded_broker.url):
        with pytest.raises(BrokerRefusedError, match="stageline invite") as caught:
            async with Bus(url, name="a", connect_timeout_s=None):
                pass
        assert "wrong" not in str(caught.value)


async def test_something_that_is_no_broker_is_told_within_the_time_given() -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerUnreachableError, match="no broker at"):
            async with Bus(f"127.0.0.1:{port}", name="a", connect_timeout_s=0.5):
                pass


@contextlib.asynccontextmanager
async def a_broker_that_answers(connack: bytes) -> AsyncIterator[str]:
    """Says that to whoever connects, and waits for them to go."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(connack)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_broker_without_subscription_identifiers_is_refused_in_words() -> None:
    """It would pass messages that carry no identifier, and nobody here would be given them."""
    async with a_broker_that_answers(bytes([0x20, 5, 0, 0, 2, 0x29, 0])) as url:
        with pytest.raises(BrokerUnfitError, match=r"offers no subscription identifiers; use .* mosquitto 2"):
            async with Bus(url, name="a"):
                pass
    async with a_broker_that_answers(bytes([0x20, 5, 0, 0, 2, 0x29, 1])) as url, Bus(url, name="a") as bus:
        assert bus.connected


async def test_a_refusal_after_a_loss_is_a_warning_once_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    """As when the hub's users were changed and it was started again."""
    accepted, wrong_password, forbidden = (bytes([0x20, 3, 0, reason, 0]) for reason in (0, 0x86, 0x87))
    script = iter([accepted, wrong_password, wrong_password, forbidden, wrong_password, accepted])
    lose, back = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        connack = next(script)
        writer.write(connack)
        if connack == accepted:
            await lose.wait()
            lose.clear()
        writer.close()

    async def tell() -> None:
        back.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        with caplog.at_level(logging.WARNING, "broker.kept_connection"):
            async with Bus(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", name="a") as bus:
                bus.on_reconnect(tell)
                lose.set()
                await back.wait()
                lose.set()
    refusals = [record.getMessage() for record in caplog.records if "refused the connection" in record.getMessage()]
    assert ["Bad user name" in refusals[0], "Not authorized" in refusals[1], len(refusals)] == [True, True, 2]


async def test_entering_can_be_cancelled_while_nobody_answers_and_leaves_no_socket_behind() -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        entering = asyncio.ensure_future(Bus(f"127.0.0.1:{port}", name="a", connect_timeout_s=None).__aenter__())
        await came.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await left.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


async def why_unreachable(url: str) -> str:
    """What is told once there was time for one attempt, however long this machine takes for it."""
    for within_s in (0.3, 3.0, 20.0):
        with pytest.raises(BrokerUnreachableError) as caught:
            async with Bus(url, name="a", connect_timeout_s=within_s):
                pass
        if "no answer" not in str(caught.value):
            break
    return str(caught.value)


async def test_tls_carries_messages_of_any_size_and_a_stranger_is_not_trusted(certificate: tuple[Path, Path]) -> None:
    key, cert = certificate
    with EmbeddedBroker(files={"certfile": cert.read_text(), "keyfile": key.read_text()}) as running:
        host = running.url.removeprefix("mqtt://")
        async with Bus(f"mqtts://{host}?ca={cert}", name="a") as bus, bus.subscribe_bytes("x") as messages:
            for nbytes in (1, 100_000, 4_000_000):
                await bus.publish_bytes("x", bytes(nbytes))
                assert len((await anext(messages)).payload) == nbytes
        assert "certificate verify failed" in await why_unreachable(f"mqtts://{host}")
        assert "No such file" in await why_unreachable(f"mqtts://{host}?ca=/nowhere/ca.pem")


async def test_where_nothing_listens_a_person_need_not_wait_as_long_as_for_a_silent_host() -> None:
    with EmbeddedBroker() as gone:
        url = gone.url
    with pytest.raises(BrokerUnreachableError, match=r"0\.1 s .*Connect call failed"):
        async with Bus(url, name="person", connect_timeout_s=None, refused_timeout_s=0.1):
            pass
