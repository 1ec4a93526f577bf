"""Clients of responses over a WebSocket: one that says and reads frames, and the handshake in bytes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.gateways import KEY

PATH = "/v1/responses"
Frame = dict[str, Any]
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


class Socket:
    """One connection; what is asked is for the tutor, and by ada unless it says otherwise."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, input: Any = "Hi", **more: Any) -> None:
        """Ask for a response."""
        asked = {"type": "response.create", "model": "tutor", "user": "ada", "input": input, **more}
        self.connection.send(json.dumps(asked))

    def read(self) -> Frame:
        frame: Frame = json.loads(self.connection.recv(timeout=30))
        return frame

    def frames(self, *types: str) -> Iterator[Frame]:
        """The frames up to the next of these types, as they come."""
        yield (frame := self.read())
        while frame["type"] not in types:
            yield (frame := self.read())

    def until(self, *types: str) -> list[Frame]:
        """The frames up to the next of these types."""
        return [*self.frames(*types)]

    def answer(self) -> list[Frame]:
        """The frames up to the end of a response."""
        return self.until(*ENDS)

    def ask(self, input: Any = "Hi", **more: Any) -> Frame:
        """The response to a request, or the frame of its error."""
        self.send(input, **more)
        end: Frame = self.answer()[-1]
        return end if end["type"] == "error" else end["response"]

    def refused(self, input: Any = "Hi", **more: Any) -> tuple[int, str, str | None]:
        """Status, code and parameter of the error that answers a request."""
        return refusal(self.ask(input, **more))

    def closed(self) -> tuple[int, str]:
        """Code and reason with which the other side closes, before it says anything more."""
        with pytest.raises(ConnectionClosed) as closed:
            self.connection.recv(timeout=30)
        assert closed.value.rcvd
        return closed.value.rcvd.code, closed.value.rcvd.reason


def refusal(frame: Frame) -> tuple[int, str, str | None]:
    """Status, code and parameter of a frame that tells of an error."""
    assert (frame["type"], frame["error"]["headers"]) == ("error", frame["headers"])
    assert frame["headers"]["x-request-id"].startswith("req_")
    return frame["status"], frame["error"]["code"], frame["error"]["param"]


def text_of(response: Frame) -> str:
    """The text of a response."""
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


@contextmanager
def socket(
    url: str, key: str | None = KEY, path: str = PATH, ssl: SSLContext | None = None, **headers: str
) -> Iterator[Socket]:
    """A connection to a gateway. Raises websockets' InvalidStatus where it is refused."""
    shown = {"authorization": f"Bearer {key}"} if key else {}
    given = {**shown, **{name.replace("_", "-"): value for name, value in headers.items()}}
    address = url.replace("http", "ws", 1) + path
    with connect(address, additional_headers=given, max_size=None, proxy=None, ssl=ssl) as connection:
        yield Socket(connection)


def handshake(**headers: str) -> bytes:
    """The request for a WebSocket, in bytes."""
    shown = {
        "host": "x",
        "authorization": f"Bearer {KEY}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in shown.items() if value]
    return "\r\n".join([f"GET {PATH} HTTP/1.1", *lines, "", ""]).encode()


def masked(text: str) -> bytes:
    """A text in one frame of a client's, whose mask changes nothing. https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    data = text.encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data
