"""A bare asyncio TCP relay, the yardstick of `bench hop`. Run by its path, so that it loads nothing but asyncio."""

import asyncio
import sys

_READ_BYTES = 1 << 16


async def main() -> None:
    """Print the port; the first to connect receives (told so by one byte), what others send goes there."""
    receiver: asyncio.StreamWriter | None = None

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal receiver
        if receiver is None:
            receiver = writer
            receiver.write(b"!")
            return
        while data := await reader.read(_READ_BYTES):
            receiver.write(data)
            await receiver.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
