"""A small client of HTTP/1.1, for the few requests that every turn makes; it knows nothing of Letta.

What comes is handed on in the callback in which it was read from the socket. Nothing is ever sent twice, no redirect is
followed, no proxy is known, and nothing compressed is asked for: whoever needs more takes another client.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

from gateway.watch import Watch

# A longer body goes in pieces of so many bytes, each once the ones before it have gone.
SENT_AT_ONCE = 256 * 1024
# What the parser raises where no answer comes; an offer of another protocol, which nobody asked for, is none either.
_UNREADABLE = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class HttpFailure(Exception):
    """A request without a whole answer. The text is the name of the reason, and holds nothing of the request."""

    def __init__(self, reason: str, *, stood: bool, silent: bool = False) -> None:
        super().__init__(reason)
        self.stood = stood
        """True: the connection stood, so that the request may have arrived."""
        self.silent = silent
        """True: the other side has said nothing for as long as it may."""


class HttpAnswer(Struct, frozen=True):
    """An answer: `HttpAnswer(200, b"[]")`. The body is empty where it was taken as it came."""

    status: int
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_redirect(self) -> bool:
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST


TakeBody = Callable[[bytes], None]


class _Exchange:
    """A request under way on a connection, and what has come of its answer."""

    def __init__(self, take: TakeBody | None, loop: asyncio.AbstractEventLoop) -> None:
        self.take = take
        self.answered: asyncio.Future[HttpAnswer] = loop.create_future()
        self.status = 0
        self.body: list[bytes] = []
        """The pieces of the body that were not handed on."""
        self.has_length = False
        """True: the body's length is told; else it ends with the connection."""
        self.is_whole = False
        self.is_last = False
        """True: the connection carries no answer after this one."""
        self.watch = Watch(self._be_silent)
        """Its progress goes up with everything that goes to and fro."""

    def _be_silent(self) -> None:
        self.fail(HttpFailure("silence", stood=True, silent=True))

    def end(self) -> None:
        if not self.answered.done():
            self.answered.set_result(HttpAnswer(self.status, b"".join(self.body)))

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            # Where who asked is cancelled in this moment, nobody else need be told.
            self.answered.exception()


class _Connection(asyncio.Protocol):
    """One connection, with at most one exchange at a time."""

    def __init__(self, client: "HttpClient", loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._exchange: _Exchange | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._transport: asyncio.Transport
        self._writable: asyncio.Future[None] | None = None
        """Set while the socket takes no more."""
        self.idle_since = 0.0

    @property
    def is_usable(self) -> bool:
        return self._exchange is None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes, seconds: float, take: TakeBody | None) -> HttpAnswer:
        """Send a request and return its answer. Raises HttpFailure, and what `take` raises."""
        exchange = self._exchange = _Exchange(take, self._loop)
        self._parser = httptools.HttpResponseParser(self)
        exchange.watch.start(seconds)
        try:
            await self._send(exchange, head, body)
            return await exchange.answered
        except BaseException:
            # What still comes is nobody's; and who is cancelled as the answer ends gives no connection back.
            self._exchange = None
            self._transport.abort()
            raise
        finally:
            exchange.watch.stop()

    async def _send(self, exchange: _Exchange, head: bytes, body: bytes) -> None:
        if len(body) <= SENT_AT_ONCE:
            self._transport.write(head + body)
            return
        self._transport.write(head)
        pieces = memoryview(body)
        for start in range(0, len(body), SENT_AT_ONCE):
            if self._writable:
                first: list[asyncio.Future[Any]] = [self._writable, exchange.answered]
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if exchange.answered.done():
                # It was refused, or the connection broke, before all of it was sent.
                self._transport.abort()
                return
            exchange.watch.progress += 1
            self._transport.write(pieces[start : start + SENT_AT_ONCE])

    def abort(self) -> None:
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        exchange, parser = self._exchange, self._parser
        if exchange is None or parser is None:
            self._transport.abort()
            return
        exchange.watch.progress += 1
        try:
            self._parse(exchange, parser, data)
            if exchange.body and exchange.take:
                body = exchange.body
                news = body[0] if len(body) == 1 else b"".join(body)
                body.clear()
                exchange.take(news)
        except _UNREADABLE as error:
            exchange.fail(HttpFailure(type(error).__name__, stood=True))
        except Exception as error:
            exchange.fail(error)
        else:
            if exchange.is_whole:
                self._finish(exchange)
            return
        self._exchange = None
        self._transport.abort()

    def _parse(self, exchange: _Exchange, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """Raises _UNREADABLE, but not for what comes behind a whole answer."""
        try:
            parser.feed_data(data)
        except _UNREADABLE:
            if not exchange.is_whole:
                raise
            exchange.is_last = True

    def _finish(self, exchange: _Exchange) -> None:
        self._exchange = None
        if exchange.is_last or self._writable:
            self._transport.close()
        exchange.end()

    def eof_received(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        if exchange := self._exchange:
            self._exchange = None
            if error is None and exchange.status >= HTTPStatus.OK and not exchange.has_length:
                exchange.end()
            else:
                exchange.fail(HttpFailure(type(error).__name__ if error else "closed by the server", stood=True))
        self.resume_writing()
        self._client.closed(self)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable and not writable.done():
            writable.set_result(None)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self._exchange and self._exchange.is_whole:
            # Ends the parsing: it is no answer to anything that was asked.
            raise ValueError("an answer behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange and name.lower() in (b"content-length", b"transfer-encoding"):
            self._exchange.has_length = True

    def on_headers_complete(self) -> None:
        if self._exchange and self._parser:
            self._exchange.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        # Of a refusal the status tells all that is needed.
        if self._exchange and self._exchange.status < HTTPStatus.MULTIPLE_CHOICES:
            self._exchange.body.append(body)

    def on_message_complete(self) -> None:
        # A status below 200 is told before the answer.
        if self._exchange and self._parser and self._exchange.status >= HTTPStatus.OK:
            self._exchange.is_whole = True
            # Asked later, the parser has forgotten.
            self._exchange.is_last = not self._parser.should_keep_alive()


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """The limits of connections: `ConnectionLimits(connections=100, connect_seconds=5.0, idle_seconds=4.0)`."""

    connections: int
    """The most at one time; one more request waits for one, for as long as its answer may be silent."""
    connect_seconds: float
    idle_seconds: float
    """How long one is kept that nobody uses."""


class HttpClient:
    """A client of one server, `HttpClient("https://letta.example/base", headers, limits, ssl_context)`."""

    def __init__(
        self, address: str, headers: dict[str, str], limits: ConnectionLimits, tls: ssl.SSLContext | None
    ) -> None:
        """`headers` go with every request; `tls` is for an address of https."""
        parts = urlsplit(address)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._base = parts.path.rstrip("/")
        self._tls = tls
        self._limits = limits
        lines = {"Host": parts.netloc, **headers, "Accept-Encoding": "identity"}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._free = asyncio.Semaphore(limits.connections)
        self._all: set[_Connection] = set()
        self._idle: deque[_Connection] = deque()
        """Those that nobody uses, the one used last at the end."""
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._emptied: asyncio.Future[None] | None = None
        """Done once the last connection is closed."""

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        seconds: float,
        accept: str,
        take: TakeBody | None = None,
        trace: str = "",
    ) -> HttpAnswer:
        """Send a request, and return its answer. Raises HttpFailure, and what `take` raises, which ends the answer.

        `seconds`: how long the other side may say nothing. `take` is called with each piece of a good answer's body.
        `trace` is the header `traceparent`, if it is not empty.
        """
        kind = "Content-Type: application/json\r\n" if body else ""
        length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
        traced = f"traceparent: {trace}\r\n" if trace else ""
        head = f"{method} {self._base}{path} HTTP/1.1\r\n{self._lines}Accept: {accept}\r\n{traced}{kind}{length}\r\n"
        await self._wait_for_room(seconds)
        try:
            if self._is_closed:
                raise HttpFailure("the client is closed", stood=False)
            connection = self._take_idle() or await self._connect()
            answer = await connection.ask(head.encode(), body, seconds, take)
            self._give_back(connection)
            return answer
        finally:
            self._free.release()

    async def _wait_for_room(self, seconds: float) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise HttpFailure("no connection is free", stood=False) from None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop), self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            raise HttpFailure(type(error).__name__, stood=False) from error
        if self._is_closed:
            raise HttpFailure("the client is closed", stood=False)
        return connection

    def _take_idle(self) -> _Connection | None:
        oldest = asyncio.get_running_loop().time() - self._limits.idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since > oldest and connection.is_usable:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if not connection.is_usable:
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(self._limits.idle_seconds, self._close_idle)

    def _close_idle(self) -> None:
        """Close those that were idle for too long, and look again when the next one may be."""
        self._sweep = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._limits.idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        if self._idle:
            self._sweep = loop.call_at(self._idle[0].idle_since + self._limits.idle_seconds, self._close_idle)

    def opened(self, connection: _Connection) -> None:
        self._all.add(connection)
        if self._is_closed:
            connection.abort()

    def closed(self, connection: _Connection) -> None:
        self._all.discard(connection)
        if self._emptied and not (self._all or self._emptied.done()):
            self._emptied.set_result(None)

    async def aclose(self) -> None:
        """Close every connection; what is under way fails, and so does what is asked from now on."""
        self._is_closed = True
        if self._sweep:
            self._sweep.cancel()
        for connection in [*self._all]:
            connection.abort()
        if self._all:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)
