"""A client's connection: uvicorn's own protocol, with limits on all input that comes before a key is looked at.

uvicorn reads, frames and answers; this module counts, keeps time, and refuses. It knows four things of a connection:
what is awaited of the client (a head, a body, nothing), since when, how much of it came, and if reading is over. A
client that takes nothing of what it is sent is one that has left.
"""

import asyncio
import re
from collections.abc import Awaitable
from enum import Enum, auto
from typing import Any

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.domain.errors import GatewayError, HeadersTooLarge, InvalidHttp, Overloaded, RequestTimeout
from gateway.http.middleware import refuse
from gateway.http.seen.under_way import RequestsUnderWay

# The bytes around a chunk count as too many only beyond this, and beyond twice the length of the chunk.
CHUNK_FRAME_BYTES = 16
# 16 bytes in base64.
HANDSHAKE_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
# How often a client that takes nothing is looked at before its time is over.
UNREAD_LOOKS = 4


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of connections, in bytes, in numbers and in time: `Limits(connections=5000)`."""

    connections: int
    """The most connections in all; one more is refused."""
    head_bytes: int = 64 * 1024
    """The most bytes of a request line and its headers, and also of the frames around a body's pieces and behind it."""
    headers: int = 200
    """The most headers of one request: many small ones take twenty times the memory that they take on the wire."""
    waiting: int = 50
    """The most requests that are sent before those ahead of them on the connection were answered."""
    head_seconds: float = 10.0
    """The longest time from a connection's start, or from a later request's first byte, to the end of the head."""
    still_seconds: float = 30.0
    """The longest time without a byte of a body that is awaited."""
    slow_seconds: float = 60.0
    """The time in which a body must bring `slow_bytes`, again and again."""
    slow_bytes: int = 60 * 1024
    """The least bytes that a body must bring in `slow_seconds`."""
    unread_seconds: float = 60.0
    """The longest time for which a client takes nothing of what waits for it; then it counts as one that left."""
    linger_seconds: float = 2.0
    """The time for which input after a refusal is read and thrown away: a client that is cut off while it sends reads
    no answer."""


class Awaited(Enum):
    """The part of a request that is awaited of the client."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


class Unread:
    """A look, now and then, at what waits for a client that takes too little: one that takes nothing is cut off."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: for so long it may take nothing."""
        self._seconds = seconds
        self._size = self._untouched = 0
        """The bytes that waited when it was last looked at, and how often they were as many."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, transport: asyncio.Transport) -> None:
        self._size, self._untouched = transport.get_write_buffer_size(), 0
        self._look_again(transport)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, transport: asyncio.Transport) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._seconds / UNREAD_LOOKS, self._look, transport)

    def _look(self, transport: asyncio.Transport) -> None:
        size = transport.get_write_buffer_size()
        self._untouched = self._untouched + 1 if size >= self._size else 0
        self._size = size
        if self._untouched < UNREAD_LOOKS:
            self._look_again(transport)
        else:
            self._timer = None
            transport.abort()


class Connection(HttpToolsProtocol):
    """One connection. An offer of HTTP/2 is not taken: the request is answered as if the offer had not been made.

    Every byte goes to the one parser, in pieces between which it can be stopped; only the parser decides where a head
    or a body ends.
    """

    def __init__(self, *, limits: Limits, under_way: RequestsUnderWay | None = None, **more: Any) -> None:
        super().__init__(**more)
        self._limits = limits
        self._under_way = under_way
        self._awaited = Awaited.HEAD
        self._since = self._heard = 0.0
        self._brought = 0
        # The bytes of the head that is awaited; of a body, those around its pieces, less those that the pieces allow.
        self._extra = 0
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread = Unread(limits.unread_seconds)
        # The reason why the awaited body will not come; the answer to its request tells it.
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
        self._unread.stop()
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
        """Give the parser a piece; returns the number of its bytes that are done with."""
        self._extra += len(piece)
        try:
            offer = self._parse(piece)
            if offer is not None and not self._should_upgrade():
                self._read_without_offer()
                return offer
        except httptools.HttpParserError as error:
            # Its context is the error that a callback of ours raised; without one, the parser itself objects.
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
        """Parse a piece; returns where the parser stopped for an offer of another protocol, or None if it did not.

        It stops at the end of the head that holds the offer.
        """
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        return None

    def _read_without_offer(self) -> None:
        """Read a head again without its `Upgrade`.

        The parser takes the bytes behind an offer for another protocol's, and so does not see the body. It has told
        where the head ends, and its lines, of which the head is made again for another parser.
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _ignores_offer(self) -> bool:
        """True if the head just read holds an offer, and is to be read without it."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    def _should_upgrade(self) -> bool:
        # An offer that is no whole handshake is no offer: the request is answered as if it had not been made.
        return self.parser.get_method() == b"GET" and super()._should_upgrade() and _is_handshake(self.headers)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._awaited is Awaited.NOTHING:
            self._await(Awaited.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not become a header of its request: a proxy in front has not seen it as one.
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
        # `serve` is no coroutine of its own: every event of a stream would pass through it.
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
        """Set a timer for the deadline, if the client is awaited; else the timer that closes an idle connection."""
        if self._awaited is not Awaited.NOTHING:
            if self._timer is None:
                self._timer = self.loop.call_later(max(0.0, self._deadline - self.loop.time()), self._look)
            return
        self._stop_watching()
        # uvicorn sets that timer when an answer ends; but an answer may have ended before the body of its request.
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
        """True if it is the gateway's turn: it answers, or does not read for a while."""
        if self.flow.read_paused:
            return True
        answering = self.cycle is not None and not self.cycle.response_complete
        return answering and (self._awaited is Awaited.HEAD or self.cycle.response_started)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the client takes

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start(self.transport)

    def resume_writing(self) -> None:
        self._unread.stop()
        super().resume_writing()

    # The end

    def _end(self) -> None:
        """Read no more."""
        self._over = True
        self._stop_watching()

    def _give_up(self, error: GatewayError) -> None:
        """Read no more, and tell the client why; the request that is being answered is answered first."""
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
        """Answer bytes that are no request, and read no more."""
        self._end()
        headers, body = refuse(error, self._under_way)
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


def _is_handshake(headers: list[tuple[bytes, bytes]]) -> bool:
    """True if a request offers a WebSocket as it must: https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1."""
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    versions = [value for name, value in headers if name == b"sec-websocket-version"]
    upgrades = [value for name, value in headers if name == b"upgrade"]
    is_whole = versions == [b"13"] and len(upgrades) == len(keys) == 1
    return is_whole and HANDSHAKE_KEY.fullmatch(keys[0]) is not None
