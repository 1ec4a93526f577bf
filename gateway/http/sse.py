"""A run as a response: server-sent events, or one whole answer. The only module that knows sse-starlette."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from litestar import Request
from litestar.types import ASGIApp
from msgspec import Struct
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import AppStatus, EventSourceResponse

from gateway.domain.errors import GatewayError, UpstreamError
from gateway.http.errors import to_gateway_error
from gateway.http.record import CLIENT_LEFT, Record
from gateway.turns.runs.log import Reader
from gateway.wires.encoder import Encoder
from gateway.wires.narrator import Narrator
from gateway.wires.sayings import Saying

PING_COMMENT = ServerSentEvent(comment="ping", sep="\n")

# sse-starlette would cut every stream on SIGTERM; the gateway ends its runs itself, each with an error told.
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class _EventStream(EventSourceResponse):
    """sse-starlette without its time limit on each send, which is not used here and costs a tenth of every event."""

    def __init__(self, answer: "Answer", first: bytes, ping_seconds: float) -> None:
        frames = _frames(answer, first)
        super().__init__(frames, sep="\n", ping=ping_seconds, ping_message_factory=lambda: PING_COMMENT)
        # Whether the connection is kept is the server's to say, and said once.
        del self.headers["connection"]
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A client may have left before the frames were begun; then they do not end, either.
            self._answer.leave()

    async def _send_with_timeout(self, send: Any, message: Any) -> None:
        await send(message)


class Answer:
    """One run as one client is told it: joins the reader of the run, a narrator and the encoder of a wire."""

    def __init__(self, run: Reader, narrator: Narrator, encoder: Encoder, record: Record) -> None:
        self.record = record
        self._run = run
        self._narrator = narrator
        self._encoder = encoder
        self._ended = False
        self._failure: UpstreamError | None = None

    async def next_frames(self) -> bytes | None:
        """The frames of what comes next, perhaps none; None after the last. Raises what the run failed with."""
        sayings = await self._next()
        if sayings is None:
            return None
        frames = self._encoder.encode(sayings)
        if frames:
            self.record.has_first_frame()
        return frames

    async def whole(self) -> Struct:
        """The body of the whole answer. Raises what the run failed with."""
        sayings: list[Saying] = []
        while (more := await self._next()) is not None:
            sayings += more
        self.record.has_first_frame()
        return self._encoder.whole(sayings)

    def end(self) -> bytes:
        """The frames after the last ones of an answer that went well."""
        self.record.outcome = None
        return self._encoder.end()

    def fail(self, error: GatewayError) -> bytes:
        """The frames that close what is open, tell of an error and end the answer."""
        self.record.fail(error)
        return self._encoder.encode(self._narrator.receive_error()) + self._encoder.fail(error)

    def leave(self) -> None:
        """Read no more of the run."""
        self.record.tokens = self._narrator.tokens
        self._run.leave()

    async def _next(self) -> Sequence[Saying] | None:
        if self._failure:
            raise self._failure
        if self._ended:
            return None
        try:
            events = await self._run.next()
        except UpstreamError:
            # An upstream that breaks after the run's reason to stop takes nothing from the answer.
            if not self._narrator.stopped:
                raise
            events = None
        sayings: list[Saying] = []
        try:
            for event in events or ():
                sayings += self._narrator.receive(event)
            if events is None or self._narrator.complete:
                self._ended = True
                sayings += self._narrator.receive_eof()
        except UpstreamError as error:
            # What came before the failure, in the same read, is told before it.
            self._failure = error
            if not sayings:
                raise
        return sayings


async def stream(answer: Answer, first_event_seconds: float, ping_seconds: float) -> ASGIApp:
    """The answer as events. Raises GatewayError or UpstreamError if the run fails within `first_event_seconds`."""
    try:
        first = await _first_frames(answer, first_event_seconds)
    except BaseException:
        answer.leave()
        raise
    # Until it has its end, it has none: nobody tells of a client that leaves.
    answer.record.outcome = CLIENT_LEFT
    return cast(ASGIApp, _EventStream(answer, first, ping_seconds))


async def _first_frames(answer: Answer, seconds: float) -> bytes:
    """The first frames; a ping if none came in time."""
    try:
        async with asyncio.timeout(seconds):
            while (frames := await answer.next_frames()) == b"":
                pass
    except TimeoutError:
        return PING_COMMENT.encode()
    return frames or b""


async def _frames(answer: Answer, first: bytes) -> AsyncGenerator[bytes, None]:
    """Every frame of the stream, those of one read of the upstream in one piece. Raises nothing."""
    try:
        yield first
        while (frames := await answer.next_frames()) is not None:
            if frames:
                yield frames
        yield answer.end()
    # Nothing may escape: the body would end without its end, and no client could tell what happened.
    except Exception as error:
        yield answer.fail(to_gateway_error(error))
    finally:
        answer.leave()


async def in_one_piece(answer: Answer, request: Request[Any, Any, Any]) -> Struct | None:
    """The whole answer; None if the client left before its end. Raises GatewayError or UpstreamError."""
    collecting = asyncio.create_task(answer.whole())
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if collecting.done():
            return await collecting
        answer.record.outcome = CLIENT_LEFT
        return None
    finally:
        answer.leave()
        collecting.cancel()
        leaving.cancel()


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
