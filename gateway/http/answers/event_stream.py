"""The last piece of a token's way: frames go to the client in the call in which they came. Alone knows sse-starlette.

sse-starlette formats events, and says with which headers they are answered. Its way of sending them is bypassed: a
generator, a task group and a lock between a token and its client cost more than all else that is done for one.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import AppStatus, EventSourceResponse

from gateway.http.answers.compressor import Compressor, encoding_headers

PING_FRAME = ServerSentEvent(comment="ping", sep="\n").encode()

# sse-starlette would cut every stream on SIGTERM; the gateway ends its runs itself, each with an error told.
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class EventStream(EventSourceResponse):
    """A response of events. `tell` is called when there are frames; a client that keeps up has them before it returns.

    It begins with `first`, which are all if `more` is False. `frames` gives those that have come since the last call,
    perhaps none, and False after the last ones; it raises nothing. While a client is slow they wait where they come
    from. A ping is sent every `ping_seconds`. `left` is called once: the response is complete, or its client has left.
    With a `compressor` all that is sent goes through it, each time to its end.
    """

    def __init__(
        self,
        first: bytes,
        more: bool,
        frames: Callable[[], tuple[bytes, bool]],
        left: Callable[[], None],
        ping_seconds: float,
        compressor: Compressor | None = None,
    ) -> None:
        super().__init__(iter(()), sep="\n", headers=encoding_headers(compressor))
        # Whether the connection is kept is the server's to say, and said once.
        del self.headers["connection"]
        self._first, self._more = first, more
        self._frames, self._left, self._ping_seconds = frames, left, ping_seconds
        self._compressor = compressor
        self._busy = True
        """True: the client is slow, or not ready; what is sent next is looked for by the one who sends."""
        self._has_news = False
        """True: it was told that there are frames while it was busy."""
        self._sending: asyncio.Task[None] | None = None
        self._context = copy_context()
        """The context of the request: what is told comes in another."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._send = _compressing(self._compressor, send) if self._compressor else send
        self._loop = asyncio.get_running_loop()
        self._pings = self._loop.call_later(self._ping_seconds, self._keep_alive)
        try:
            self._sending = _start(self._begin(), self._loop, self._context)
            # It comes at the end of the response, too, and at once where the client has left before its begin:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._busy = True
            self._pings.cancel()
            if self._sending:
                self._sending.cancel()
            self._left()

    async def _begin(self) -> None:
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await self._send(head)
        await self._send({"type": "http.response.body", "body": self._first, "more_body": self._more})
        if self._more:
            # Something may have come since the first frames were taken.
            await self._send_all(b"")

    def tell(self) -> None:
        """There are frames."""
        if self._busy:
            self._has_news = True
        else:
            self._busy = True
            self._sending = _start(self._send_all(b""), self._loop, self._context)

    def _keep_alive(self) -> None:
        self._pings = self._loop.call_later(self._ping_seconds, self._keep_alive)
        if not self._busy:
            self._busy = True
            self._sending = _start(self._send_all(PING_FRAME), self._loop, self._context)

    async def _send_all(self, before: bytes) -> None:
        more = self._has_news = True
        while more and self._has_news:
            self._has_news = False
            frames, more = self._frames()
            if before:
                frames, before = before + frames, b""
            if frames or not more:
                await self._send({"type": "http.response.body", "body": frames, "more_body": more})
        self._busy = not more


def _compressing(compressor: Compressor, send: Any) -> Callable[[Any], Awaitable[None]]:
    """`send` for an answer that is compressed: what is sent can be read when it arrives."""

    # No coroutine of its own: every event of a stream would pass through it.
    def send_compressed(message: Any) -> Awaitable[None]:
        if message["type"] == "http.response.body":
            encode = compressor.compress if message["more_body"] else compressor.end
            message["body"] = encode(message["body"])
        sending: Awaitable[None] = send(message)
        return sending

    return send_compressed


def _start(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context) -> asyncio.Task[None]:
    """Begin at once, without waiting for the loop, where Python can: what need not wait is done when this returns."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, context=context, eager_start=True)
    return loop.create_task(work, context=context)
