"""`stageline top`: the fleet, live."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live

from broker.bus import Bus
from schemas.topics import DEVICE_TIMING, Topic
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct, open_bus, settings_of
from stageline.top_picture import TOP_TOPICS, Picture
from stageline.top_view import document, render


def top(
    once: Annotated[bool, typer.Option("--once", help="Print once and end; for pipes.")] = False,
    listen_s: Annotated[
        float, typer.Option("--listen", min=0.05, help="With --once or --json: seconds to listen for rates first.")
    ] = 1.5,
    period_s: Annotated[float, typer.Option("--period", min=0.1, help="Seconds between redraws.")] = 0.5,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Show devices (load, heat, power, link, queue), stages (rates and times) and routes until interrupted.

    Stages and routes show what the plan expected beside what it took, and by how much that is off. A worker that should
    speak every second and does not is silent; one that has been at one step for long is stuck.

    stageline top

    stageline top --once            (one picture, and the end)

    stageline top --json -          (one picture, as JSON)

    Exit codes: 0 shown; 2 to mend: no broker.
    """

    async def work(report: Report) -> int:
        settings = settings_of(broker=broker, root=root)
        async with open_bus(settings, "top") as bus, _Watch(bus) as watch:
            if once or json is not None:
                await watch.listen(listen_s)
                report.out.print(render(watch.picture, watch.now_s(), width=report.out.width))
                report.write_json(document(watch.picture, watch.now_s()))
                return DONE

            def shown() -> Group:
                return render(watch.picture, watch.now_s(), width=report.out.width, note="Ctrl-C leaves")

            with Live(shown(), console=report.out, auto_refresh=False, screen=True) as live:
                while True:
                    await asyncio.sleep(period_s)
                    live.update(shown(), refresh=True)

    conduct(json, work, interrupted=DONE)


class _Watch:
    """Keeps a picture true; what is retained is in it when entered."""

    def __init__(self, bus: Bus) -> None:
        self.picture = Picture()
        self._bus = bus
        self._stack = contextlib.AsyncExitStack()
        self._heard = asyncio.Event()

    async def __aenter__(self) -> _Watch:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        followers = []
        for topic in (*TOP_TOPICS, DEVICE_TIMING):
            stream = await self._stack.enter_async_context(self._bus.watch(topic))
            followers.append(group.create_task(self._follow(topic, stream)))
        self.picture = replace(self.picture, began_s=self.now_s())
        for topic in TOP_TOPICS:
            for delivery in await self._bus.snapshot(topic):
                self._fold(topic, delivery.parameters, delivery.message, retained=True)

        async def stop() -> None:
            for follower in followers:
                follower.cancel()

        self._stack.push_async_callback(stop)
        return self

    async def __aexit__(self, *problem: Any) -> None:
        await self._stack.__aexit__(*problem)

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def listen(self, seconds: float) -> None:
        """Until every worker that is there has been heard, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._silent():
                    self._heard.clear()
                    await self._heard.wait()

    def _silent(self) -> set[str]:
        devices = self.picture.fleet.devices.items()
        return {name for name, one in devices if one.online} - self.picture.timings.keys()

    async def _follow(self, topic: Topic[Any], stream: AsyncIterator[Any]) -> None:
        async for change in stream:
            self._fold(topic, change.parameters, change.message, retained=change.retained)

    def _fold(self, topic: Topic[Any], parameters: dict[str, str], message: Any, *, retained: bool) -> None:
        self.picture = self.picture.with_message(topic, parameters, message, retained=retained, now_s=self.now_s())
        self._heard.set()
