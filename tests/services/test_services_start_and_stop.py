"""Each service as a process under a supervisor: up when it is known, gone in good order whatever the broker does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from broker.bus import Bus
from broker.embedded import EmbeddedBroker
from schemas.topics import DEVICE_STAGES, DEVICE_STATUS, HUB_STATUS, Topic

SERVICES: dict[str, Topic[Any]] = {"monitor": DEVICE_STATUS, "worker": DEVICE_STAGES, "planner": HUB_STATUS}
NOWHERE = "mqtt://127.0.0.1:9"
STOPS_WITHIN_S = 20.0
"""What the units allow."""


class Service:
    """One service under a supervisor of its own."""

    def __init__(self, process: asyncio.subprocess.Process, systemd: Any) -> None:
        self.systemd = systemd
        self.process = process

    async def stop(self) -> None:
        """SIGTERM; it stops as it should, and with a log that says so."""
        self.process.send_signal(signal.SIGTERM)
        await self.systemd.says("STOPPING")
        async with asyncio.timeout(STOPS_WITHIN_S):
            _, log = await self.process.communicate()
        lines = [json.loads(line) for line in log.splitlines()]
        assert self.process.returncode == 0, lines
        assert not any(line["level"] == "error" or "leaving without" in line["message"] for line in lines), lines


@contextlib.asynccontextmanager
async def all_services(url: str, root: str, folder: Path, supervisor: type[Any]) -> AsyncIterator[dict[str, Service]]:
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("STAGELINE_", "COVERAGE"))}
    running: dict[str, Service] = {}
    try:
        for name in SERVICES:
            systemd = supervisor()
            settings = {"BROKER": url, "ROOT": root, "DEVICE": "pi4", "STATE_DIR": str(folder / name)}
            environment = {f"STAGELINE_{setting}": value for setting, value in settings.items()}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{name}.main",
                stderr=asyncio.subprocess.PIPE, env={**quiet, **environment, **systemd.environment},
            )  # fmt: skip
            running[name] = Service(process, systemd)
        yield running
    finally:
        for service in running.values():
            if service.process.returncode is None:
                service.process.kill()
                await service.process.communicate()
            service.systemd.close()


async def stop_all(services: dict[str, Service]) -> None:
    await asyncio.gather(*(service.stop() for service in services.values()))


async def test_each_is_ready_when_the_broker_knows_it_and_stops_in_good_order_when_the_broker_is_gone(
    root: str, tmp_path: Path, systemd: Any
) -> None:
    with EmbeddedBroker() as broker:
        async with all_services(broker.url, root, tmp_path, type(systemd)) as services:
            async with Bus(broker.url, name="watcher", root=root) as bus:
                for name, topic in SERVICES.items():
                    ready = await services[name].systemd.says("READY")
                    assert ready["STATUS"]
                    assert [state.message.online for state in await bus.snapshot(topic)] == [True]
            broker.kill()
            await stop_all(services)


async def test_each_looks_for_its_broker_says_so_and_stops_when_told_to(
    root: str, tmp_path: Path, systemd: Any
) -> None:
    async with all_services(NOWHERE, root, tmp_path, type(systemd)) as services:
        for service in services.values():
            said = await service.systemd.until(lambda message: "WATCHDOG" in message)
            assert f"looks for the broker at {NOWHERE}" in said["STATUS"]
            assert "EXTEND_TIMEOUT_USEC" in said
        await stop_all(services)
        assert not any(service.systemd.said("READY") for service in services.values())
