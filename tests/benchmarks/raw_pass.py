"""The yardstick: the least that Python does for a stream that goes through it. It copies bytes, and understands none.

Run by the interpreter of the gateway it is a measure for, as a program of its own: `raw_pass.py LETTA_PORT`. It serves
on a free port of the loopback, prints it, and asks the mock of Letta's REST API the last message of each request.
"""

import asyncio
import gc
import sys
from typing import Any

import msgspec
import uvloop

LONGEST_QUEUE = 4096
LAST_CHUNK = b"0\r\n\r\n"
PATH = b"/v1/conversations/conv-0/messages"


class ChatMessage(msgspec.Struct):
    """A message of a request."""

    role: str
    content: Any = None


class ChatRequest(msgspec.Struct):
    """A request, as far as it is read."""

    model: str
    messages: list[ChatMessage]


class FromLetta(asyncio.Protocol):
    """A connection to the mock, which is used again."""

    def __init__(self, idle: list["FromLetta"]) -> None:
        self.client: FromClient | None = None
        self._idle = idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        client = self.client
        if client is None:
            return
        client.transport.write(data)
        if data.endswith(LAST_CHUNK):
            self.client = client.letta = None
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client:
            self.client.transport.close()
        if self in self._idle:
            self._idle.remove(self)


class FromClient(asyncio.Protocol):
    """A connection of a client, with one request after the other."""

    def __init__(self, letta_port: int, idle: list[FromLetta]) -> None:
        self.letta: FromLetta | None = None
        self._letta_port = letta_port
        self._idle = idle
        self._received = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not found or len(rest) < size:
            return
        self._received = b""
        task = asyncio.get_running_loop().create_task(self._ask(rest[:size]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, body: bytes) -> None:
        request = _decode(body)
        message = {"role": "user", "content": request.messages[-1].content}
        asked = _encode({"messages": [message], "streaming": True, "stream_tokens": True})
        if self._idle:
            letta = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, letta = await loop.create_connection(lambda: FromLetta(self._idle), "127.0.0.1", self._letta_port)
        self.letta, letta.client = letta, self
        head = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        letta.transport.write(head % (PATH, len(asked)) + asked)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.letta:
            self.letta.client = None
            self.letta.transport.abort()
            self.letta = None


_decode = msgspec.json.Decoder(ChatRequest).decode
_encode = msgspec.json.Encoder().encode


async def main(letta_port: int) -> None:
    idle: list[FromLetta] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: FromClient(letta_port, idle), "127.0.0.1", 0, backlog=LONGEST_QUEUE
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.collect()
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
