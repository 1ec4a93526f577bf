"""A client's connection: uvicorn's own protocol, with limits on what comes before a key is looked at.

uvicorn reads, frames and answers; what is here counts, keeps time, and says no. Four things are told of a connection:
what is awaited of the client (a head, a body, nothing), since when, how much came of it, and whether it is over.
"""

import asyncio
from collections.abc import Awaitable
from enum import Enum, auto
from typing import Any

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.domain.errors import GatewayError, HeadersTooLarge, InvalidHttp, Overloaded, RequestTimeout
from gateway.http.middleware import refuse

# What stands around a chunk counts as too much only beyond this, and beyond twice what the chunk brings.
CHUNK_FRAME_BYTES = 16


class Limits(Struct, frozen=True, kw_only=True):
    """What a connection may take, in bytes and in time."""

    connections: int
    """In all; one more is refused."""
    head_bytes: int = 64 * 1024
    """A request line and its headers; so much may also stand around the pieces of a body, or behind it."""
    headers: int = 200
    """Of one request: many small ones take twenty times the memory that they take on the wire."""
    waiting: int = 50
    """Requests sent before those ahead of them on the connection were answered."""
    head_seconds: float = 10.0
    """From a connection's begin, or from the first byte of a later request, to the end of the head."""
    still_seconds: float = 30.0
    """Without a byte of a body."""
    slow_seconds: float = 60.0
    """In which a body is to bring `slow_bytes`."""
    slow_bytes: int = 60 * 1024
    linger_seconds: float = 2.0
    """What still comes after a refusal is thrown away for so long: who is cut off while it sends reads no answer."""


class Awaited(Enum):
    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


class Connection(HttpToolsProtocol):
    """One connection. An offer of HTTP/2 is not taken: the request is answered as if it had not been made.

    Every byte goes to the one parser, in pieces that it can be stopped between; where a head or a body ends is what
    the parser says, and nothing else.
    """

    def __init__(self, *, limits: Limits, **more: Any) -> None:
        super().__init__(**more)
        self._limits = limits
        self._awaited = Awaited.HEAD
        self._since = self._heard = 0.0
        self._brought = 0
        # Bytes of the head that is awaited; of a body, those around its pieces, less what these pieces allow for.
        self._extra = 0
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        # Why the body that is awaited will not come; told by the answer to its request.
        self._broken: GatewayError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(Awaited.HEAD)
        if len(self.connections) > self._limits.connections:
            self._refuse(Overloaded("This gateway has as many connections as it takes. Please try again later."))
            transport.close()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._unset_keepalive_if_required()
        self._heard = self.loop.time()
        rest = memoryview(data)
        while rest and not self._over:
            if self._awaited is Awaited.NOTHING:
                self._await(Awaited.HEAD)
            rest = rest[self._feed(rest[: self._limits.head_bytes - self._extra]) :]
        if not self._over:
            self._watch()

    def _feed(self, piece: memoryview) -> int:
        """Give the parser a piece; gives how much of it is done with."""
        self._extra += len(piece)
        try:
            offer = self._parse(piece)
            if offer is not None and not self._should_upgrade():
                self._read_without_offer()
                return offer
        except httptools.HttpParserError as error:
            # What a callback of ours raised, or what the parser itself objects to.
            reason = error.__context__
            self._give_up(reason if isinstance(reason, GatewayError) else InvalidHttp())
        else:
            if offer is not None:
                self._end()
                self.handle_websocket_upgrade()
            elif self._extra >= self._limits.head_bytes:
                self._give_up(HeadersTooLarge())
        return len(piece)

    def _parse(self, piece: memoryview) -> int | None:
        """Where the parser stopped because of an offer of another protocol: at the end of the head that holds it."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        return None

    def _read_without_offer(self) -> None:
        """Read a head again without its `Upgrade`.

        The parser takes what follows an offer for another protocol's, and so the body for no body: it has told where
        the head ends, and what stands in it.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _ignores_offer(self) -> bool:
        """Whether the head just read holds an offer, and is to be read without it."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._awaited is Awaited.NOTHING:
            self._await(Awaited.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not become a header of its request: whoever stands in front has not seen it.
        if self._awaited is Awaited.BODY:
            return
        if len(self.headers) >= self._limits.headers:
            raise HeadersTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._ignores_offer():
            return
        if len(self.pipeline) >= self._limits.waiting:
            raise InvalidHttp
        super().on_headers_complete()
        self._await(Awaited.BODY)

    def on_body(self, body: bytes) -> None:
        self._brought += len(body)
        self._allow(3 * len(body))  # itself, and twice as much
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        self._allow(CHUNK_FRAME_BYTES)

    def on_message_complete(self) -> None:
        if self._ignores_offer():
            return
        super().on_message_complete()
        self._await(Awaited.NOTHING)

    # The application

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Not a coroutine of its own: every event of a stream would pass it.
        def serve(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
            async def receive_or_tell() -> Any:
                message = await receive()
                if self._broken is not None and message.get("more_body"):
                    raise self._broken
                return message

            if scope["http_version"] == "1.0":
                send = _without_chunks(cycle, send)
            served: Awaitable[None] = app(scope, receive_or_tell, send)
            return served

        super()._start_asgi_task(cycle, serve)

    # Time and measure

    def _await(self, awaited: Awaited) -> None:
        self._awaited = awaited
        self._since = self._heard = self.loop.time()
        self._brought = self._extra = 0

    def _allow(self, size: int) -> None:
        self._extra = max(0, self._extra - size)

    def _watch(self) -> None:
        """Have somebody look at the time, where the client is awaited."""
        if self._awaited is not Awaited.NOTHING:
            if self._timer is None:
                self._timer = self.loop.call_later(max(0.0, self._deadline - self.loop.time()), self._look)
            return
        self._stop_watching()
        # uvicorn does so when an answer ends; but one may have ended before the body that it answers.
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    @property
    def _deadline(self) -> float:
        if self._awaited is Awaited.HEAD:
            return self._since + self._limits.head_seconds
        return min(self._heard + self._limits.still_seconds, self._since + self._limits.slow_seconds)

    def _look(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._answers():
            self._since = self._heard = now
            self._brought = 0
        elif now >= self._deadline:
            enough = self._brought >= self._limits.slow_bytes and now < self._heard + self._limits.still_seconds
            if self._awaited is Awaited.HEAD or not enough:
                self._give_up(RequestTimeout())
                return
            self._since, self._brought = now, 0
        self._watch()

    def _answers(self) -> bool:
        """Whether it is the gateway's turn: it answers, or does not read for a while."""
        if self.flow.read_paused:
            return True
        answering = self.cycle is not None and not self.cycle.response_complete
        return answering and (self._awaited is Awaited.HEAD or self.cycle.response_started)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The end

    def _end(self) -> None:
        """Read no more."""
        self._over = True
        self._stop_watching()

    def _give_up(self, error: GatewayError) -> None:
        """Read no more, and say why; what is being answered is answered first."""
        self._end()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if self._awaited is Awaited.BODY:
                self._broken = error
                cycle.message_event.set()
        elif self._awaited is Awaited.BODY:
            self.transport.close()
        else:
            self._refuse(error)
            self.transport.write_eof()
            self.loop.call_later(self._limits.linger_seconds, self.transport.close)

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is no request."""
        self._end()
        headers, body = refuse(error)
        lines = [b"HTTP/1.1 %d %b" % (error.status_code, error.status_code.phrase.encode())]
        lines += [b"%b: %b" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))


def _without_chunks(cycle: RequestResponseCycle, send: Any) -> Any:
    """`send` for a client of HTTP/1.0, which knows no chunks: an answer without a length ends with its connection."""
    sized = True

    async def send_plainly(message: Any) -> None:
        nonlocal sized
        if message["type"] == "http.response.start":
            sized = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            cycle.chunked_encoding = None if sized else False
        elif not sized:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    return send_plainly
