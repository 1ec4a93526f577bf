"""A run as a response: server-sent events, or one whole completion. The only module that knows sse-starlette."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from litestar import Request
from litestar.types import ASGIApp
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import AppStatus, EventSourceResponse

from gateway.domain.errors import UpstreamError
from gateway.domain.events import Event
from gateway.http.errors import to_gateway_error
from gateway.turns.runs.log import Reader
from gateway.wires.chat_completions.response import DONE_FRAME, ChatCompletion, frame, to_completion
from gateway.wires.chat_completions.translator import StreamTranslator
from gateway.wires.envelope import UpstreamFailure, to_response
from gateway.wires.tool_display import Told

PING = ServerSentEvent(comment="ping", sep="\n")

# sse-starlette would cut every stream on SIGTERM; the gateway ends its runs itself, each with an error told.
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class _EventStream(EventSourceResponse):
    """sse-starlette without its time limit on each send, which is not used here and costs a tenth of every event."""

    async def _send_with_timeout(self, send: Any, message: Any) -> None:
        await send(message)


class Answer:
    """The chunks of one run, as they come."""

    def __init__(self, run: Reader, translator: StreamTranslator) -> None:
        self._run = run
        self._translator = translator
        self._ended = False
        self._failure: UpstreamFailure | None = None

    async def next(self) -> Sequence[Told] | None:
        """The next chunks, none of them or many; None after the last. Raises GatewayError where the run fails."""
        if self._failure:
            raise self._failure
        if self._ended:
            return None
        try:
            return self._translate(await self._run.next())
        except UpstreamError as error:
            # What breaks after the reason to stop changes nothing of it.
            if not self._translator.stopped:
                raise UpstreamFailure(error) from error
            return self._translate(None)

    def _translate(self, events: list[Event] | None) -> list[Told]:
        chunks: list[Told] = []
        try:
            for event in events or ():
                chunks += self._translator.receive(event)
            if events is None or self._translator.complete:
                self._ended = True
                chunks += self._translator.receive_eof()
        except UpstreamFailure as error:
            # What came before the failure, in the same read, is told before it.
            self._failure = error
            if not chunks:
                raise
        return chunks

    def close(self) -> Sequence[Told]:
        """The chunks that close what is open, before an error is told."""
        return self._translator.receive_error()

    def leave(self) -> None:
        self._run.leave()


async def stream(answer: Answer, first_event_seconds: float, ping_seconds: float) -> ASGIApp:
    """The answer as events. Raises GatewayError if the run fails within `first_event_seconds`."""
    try:
        first = await _first_frames(answer, first_event_seconds)
    except BaseException:
        answer.leave()
        raise
    response = _EventStream(_frames(answer, first), sep="\n", ping=ping_seconds, ping_message_factory=lambda: PING)
    # Whether the connection is kept is the server's to say, and said once.
    del response.headers["connection"]
    return cast(ASGIApp, response)


async def _first_frames(answer: Answer, seconds: float) -> bytes:
    """The frames of the first chunks; a ping if none came in time."""
    try:
        async with asyncio.timeout(seconds):
            while (chunks := await answer.next()) == []:
                pass
    except TimeoutError:
        return PING.encode()
    return _to_frames(chunks)


async def _frames(answer: Answer, first: bytes) -> AsyncGenerator[bytes, None]:
    """Every frame of the stream, those of one read of the upstream in one piece. Raises nothing."""
    try:
        yield first
        while (chunks := await answer.next()) is not None:
            if chunks:
                yield _to_frames(chunks)
        yield DONE_FRAME
    # Nothing may escape: the body would end without its end, and no client could tell what happened.
    except Exception as error:
        yield _to_frames(answer.close()) + frame(to_response(to_gateway_error(error))) + DONE_FRAME
    finally:
        answer.leave()


def _to_frames(chunks: Sequence[Told] | None) -> bytes:
    return b"".join([frame(chunk) for chunk in chunks or ()])


async def whole(answer: Answer, request: Request[Any, Any, Any]) -> ChatCompletion | None:
    """The answer in one piece; None if the client left before its end. Raises GatewayError."""
    collecting = asyncio.create_task(_collect(answer))
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await collecting if collecting.done() else None
    finally:
        answer.leave()
        collecting.cancel()
        leaving.cancel()


async def _collect(answer: Answer) -> ChatCompletion:
    told: list[Told] = []
    while (more := await answer.next()) is not None:
        told += more
    return to_completion(told)


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
