"""Bytes to a server and back, for requests that no client library would send; and an application that tells them."""

import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self
from urllib.parse import urlsplit

from msgspec import Struct

JSON = b"content-type: application/json\r\n"


class Answer(Struct, frozen=True):
    """One response; `headers` in their order, in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other == name]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str, str | None]:
        """Status, type and code of an error in OpenAI's envelope, which has an id."""
        error = self.json()["error"]
        assert {"message", "type", "param", "code"} == set(error)
        assert self.values("content-type") == ["application/json"]
        assert [value.startswith("req_") for value in self.values("x-request-id")] == [True]
        return self.status, error["type"], error["code"]


class Wire:
    """A connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *packets: bytes) -> Self:
        for packet in packets:
            self._socket.sendall(packet)
        return self

    def send_what_goes(self, packets: Iterable[bytes]) -> Self:
        """Send until the other side takes no more."""
        with contextlib.suppress(ConnectionError):
            self.send(*packets)
        return self

    def answer(self, method: str = "GET") -> Answer:
        """The next response."""
        status = int(self._line().split(b" ")[1])
        headers = []
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        return Answer(status, headers, b"" if method == "HEAD" else self._body(dict(headers)))

    def until(self, text: str) -> Self:
        """Read up to the line with a text."""
        while text.encode() not in self._line():
            pass
        return self

    def close_sending(self) -> Self:
        """Say that nothing more will be sent; what comes can still be read."""
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def size_of_rest(self, piece: int = 65536, pause: float = 0.0) -> int:
        """The number of bytes that come before the end of the connection, of which so many at most are read at once."""
        size = 0
        with contextlib.suppress(ConnectionError):
            while data := self._file.read1(piece):
                size += len(data)
                time.sleep(pause)
        return size

    def is_closed(self) -> bool:
        """Whether nothing more comes, for certain: waits for the end."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return self._file.read(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return self._file.read()
        body = b""
        while size := int(self._line(), 16):
            body += self._file.read(size)
            self._line()
        self._line()
        return body

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise EOFError("the server closed the connection")
        return line.removesuffix(b"\r\n")


def outlast(url: str) -> None:
    """Wait until a connection that never speaks is ended: whatever stands longer than it stands for good."""
    with Wire(url) as silent:
        assert silent.answer().status == 408
        assert silent.is_closed()


def request(head: bytes, body: bytes = b"") -> bytes:
    """A request: its lines, and a body with its length."""
    length = b"content-length: %d\r\n" % len(body) if body else b""
    return head + b"\r\nhost: x\r\n" + length + b"\r\n" + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def tell_request(scope: Any, receive: Receive, send: Send) -> None:
    """An ASGI application that answers with the request it got."""
    if scope["type"] == "websocket":
        await _tell_messages(receive, send)
        return
    assert scope["type"] == "http"
    body = await read_body(receive)
    told = {
        "request": f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}",
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await reply(send, json.dumps(told).encode())


async def read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def reply(send: Send, body: bytes, status: int = 200) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _tell_messages(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        accepts = message["type"] == "websocket.connect"
        await send({"type": "websocket.accept"} if accepts else {"type": "websocket.send", "text": message["text"]})
