"""A listener where systemd would be."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable

WITHIN_S = 60.0


class Systemd:
    """Hears what the services that are started with its variables have to say."""

    def __init__(self) -> None:
        self.address = f"@stageline-test-{secrets.token_hex(4)}"
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}")
        self._socket.setblocking(False)

    async def until(self, wanted: Callable[[dict[str, str]], bool], within_s: float = WITHIN_S) -> dict[str, str]:
        """The next message like that."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_s):
            while True:
                text = (await loop.sock_recv(self._socket, 4096)).decode()
                message = dict(line.split("=", 1) for line in text.splitlines())
                self.heard.append(message)
                if wanted(message):
                    return message

    async def says(self, name: str, value: str = "1") -> dict[str, str]:
        """The next message with that in it."""
        return await self.until(lambda message: message.get(name) == value)

    def said(self, name: str) -> bool:
        """Whether a message that was heard so far has that."""
        return any(name in message for message in self.heard)

    def forget(self) -> None:
        """Drop what was heard and what waits to be."""
        self.heard.clear()
        while True:
            try:
                self._socket.recv(4096)
            except BlockingIOError:
                return

    @property
    def environment(self) -> dict[str, str]:
        """What systemd would start a service with: a sign of life is due every 0.2 s."""
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": "200000"}

    def close(self) -> None:
        self._socket.close()
