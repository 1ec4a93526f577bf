"""A server that does on its connections what a test says, byte by byte, in the loop of the test."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from msgspec import Struct

WAIT_SECONDS = 10


class Asked(Struct, frozen=True):
    """A request as it came: its first line, its headers in lower case, its body."""

    line: str
    headers: dict[str, str]
    body: bytes = b""


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    async def head(self) -> Asked:
        """The next request, without its body. Raises asyncio.IncompleteReadError where none comes."""
        line, *more = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(header.split(": ", 1) for header in more)
        return Asked(line, {name.lower(): value for name, value in headers.items()})

    async def request(self) -> Asked:
        """The next request, whole."""
        asked = await self.head()
        if asked.headers.get("transfer-encoding") == "chunked":
            return Asked(asked.line, asked.headers, await self._chunks())
        body = await self.reader.readexactly(int(asked.headers.get("content-length", 0)))
        return Asked(asked.line, asked.headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readuntil(b"\r\n")
        await self.reader.readuntil(b"\r\n")
        return body

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each of which the other side reads alone: it does so whenever the loop goes round."""
        for piece in pieces:
            self._writer.write(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    async def left(self) -> None:
        """Returns when the other side has closed the connection, whatever it sends before that."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """End the connection as a server does that has died."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.transport.abort()


class Served:
    """A server of `peer`s. What it has seen: `asked` is for them to fill."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.connections = 0
        self.asked: list[Asked] = []


Handle = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handle, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Served]:
    """Serve while entered; fails unless whoever connects has closed each connection at the end.

    What `handle` leaves open stays so until the other side closes it.
    """
    served, tasks = Served(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await handle(peer)
            await peer.left()
        finally:
            peer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    served.url = f"{'https' if tls else 'http'}://{name}:{served.port}"
    try:
        yield served
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*tasks)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def in_turn(*handles: Handle) -> Handle:
    """What is done on the first connection, the second, …; the last is done on all that follow."""
    coming = list(handles)

    async def handle(peer: Peer) -> None:
        await (coming.pop(0) if len(coming) > 1 else coming[0])(peer)

    return handle


def cut_each_way(data: bytes) -> Iterable[list[bytes]]:
    """All of it at once, byte by byte, and cut in two at every place."""
    yield [data]
    yield [bytes([byte]) for byte in data]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]
