"""A run as a response: server-sent events, or one whole answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec
from litestar import MediaType, Request, Response
from litestar.types import ASGIApp
from msgspec import Struct

from gateway.domain.errors import GatewayError, UpstreamError
from gateway.http.answers.compressor import Compressor, encoding_headers
from gateway.http.answers.event_stream import PING_FRAME, EventStream
from gateway.http.errors import to_gateway_error
from gateway.http.incoming.encodings import PIECE_BYTES
from gateway.http.record import CLIENT_LEFT, Record
from gateway.turns.runs.log import Told
from gateway.wires.encoder import Encoder
from gateway.wires.narrator import Narrator
from gateway.wires.sayings import Saying

# A whole answer of fewer bytes fits into the packet with its headers.
SHORT = 1024
NO_HEADERS: Mapping[str, str] = {}


class Readable(Protocol):
    """A reader of a run, as an answer sees it (`turns/runs/log.py:Reader`)."""

    def take(self) -> Told | None: ...

    async def news(self) -> None: ...

    def listen(self, listener: Callable[[], None]) -> None: ...

    def interrupt(self) -> None: ...

    def leave(self) -> None: ...


class Answer:
    """One run as one client is told it: joins the reader of the run, a narrator and the encoder of a wire."""

    def __init__(self, run: Readable, narrator: Narrator, encoder: Encoder, record: Record) -> None:
        self.record = record
        self._run = run
        self._narrator = narrator
        self._encoder = encoder
        self.on_leave: Callable[[], None] | None = None
        """Called when the run is no longer read."""
        self._failure: UpstreamError | GatewayError | None = None
        """The end of the answer, once what came before it in the same read was said."""
        self._begun = False
        """True: what comes before all that is said was told."""

    def begin(self) -> bytes:
        """The frames that come before all that is said; none the second time, and where the wire has none."""
        begun, self._begun = self._begun, True
        return b"" if begun else self._encoder.begin()

    def take_frames(self) -> tuple[bytes, bool]:
        """The frames of what has come since the last time, perhaps none; and False if they are the last ones.

        Raises what the run failed with, after what came before that.
        """
        said, over = self._take()
        frames = b""
        if said or over:
            frames = self._encoder.encode(said) if self._begun else self.begin() + self._encoder.encode(said)
        if over:
            self.record.has_last_frame()
            frames += self._encoder.end()
        elif self._failure and not frames:
            raise self._failure
        if frames and self.record.first_frame_seconds is None:
            self.record.has_first_frame()
        return frames, not over

    def take_frames_or_failure(self) -> tuple[bytes, bool]:
        """The same; a failure is told in frames, the last ones. Raises nothing."""
        frames, more = b"", True
        try:
            frames, more = self.take_frames()
            if self._failure:
                raise self._failure
        # Nothing may escape: the body would end without its end, and no client could tell what happened.
        except Exception as error:
            return frames + self._fail(to_gateway_error(error)), False
        return frames, more

    async def whole(self) -> Struct:
        """The body of the whole answer. Raises what the run failed with."""
        whole: list[Saying] = []
        over = False
        while not over:
            said, over = self._take()
            whole += said
            if not (over or said):
                await self._run.news()
        self.record.has_first_frame()
        return self._encoder.whole(whole)

    async def news(self) -> None:
        """Return once there is something to take."""
        await self._run.news()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when there is something to take, in the call that brings it."""
        self._run.listen(listener)

    def cut(self, error: GatewayError) -> None:
        """Tell the client of an error, in place of all that would follow."""
        self._failure = error
        self._run.interrupt()

    def leave(self) -> None:
        """Read no more of the run."""
        self.record.tokens = self._narrator.tokens
        self._run.leave()
        if self.on_leave:
            self.on_leave()

    def _fail(self, error: GatewayError) -> bytes:
        """The frames that close what is open, tell of an error and end the answer."""
        self.record.fail(error)
        return self._encoder.encode(self._narrator.receive_error()) + self._encoder.fail(error)

    def _take(self) -> tuple[list[Saying], bool]:
        """Everything to be said since the last time, and True if nothing follows. Raises what the run failed with."""
        if self._failure:
            raise self._failure
        narrator = self._narrator
        try:
            told = self._run.take()
        except UpstreamError:
            # An upstream that breaks after the run's reason to stop takes nothing from the answer.
            if not narrator.stopped:
                raise
            told = None
        said: list[Saying] = []
        try:
            for event in told.events if told else ():
                said += narrator.receive(event)
            over = told is None or narrator.complete
            if over:
                said += narrator.receive_eof()
        except UpstreamError as error:
            self._failure, over = error, False
            if not said:
                raise
        return said, over


async def stream(
    answer: Answer,
    first_event_seconds: float,
    ping_seconds: float,
    compressor: Compressor | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> ASGIApp:
    """The answer as events, with more `headers`.

    Raises GatewayError or UpstreamError if the run fails within `first_event_seconds`.
    """
    # Until it has its end, it has none: nobody tells of a client that leaves.
    answer.record.outcome = CLIENT_LEFT
    try:
        first = await _first_frames(answer, first_event_seconds)
    except BaseException:
        answer.record.outcome = None
        answer.leave()
        raise
    response = EventStream(*first, answer.take_frames_or_failure, answer.leave, ping_seconds, compressor)
    response.headers.update(headers)
    answer.listen(response.tell)
    return cast(ASGIApp, response)


async def _first_frames(answer: Answer, seconds: float) -> tuple[bytes, bool]:
    """The first frames; if none came in time those that need not wait for any, or a ping."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                frames, more = answer.take_frames()
                if frames or not more:
                    return frames, more
                await answer.news()
    except TimeoutError:
        return answer.begin() or PING_FRAME, True


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


async def compressed(completion: Struct, compressor: Compressor, headers: Mapping[str, str]) -> Response[bytes]:
    """A whole answer as its client accepts it, with more `headers`; a short one stays as it is."""
    body = msgspec.json.encode(completion)
    if len(body) < SHORT:
        return Response(body, media_type=MediaType.JSON, headers=headers)
    pieces = [body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)]
    encoded = b""
    for piece in pieces[:-1]:
        encoded += compressor.compress(piece)
        await asyncio.sleep(0)
    encoded += compressor.end(pieces[-1])
    return Response(encoded, media_type=MediaType.JSON, headers={**headers, **encoding_headers(compressor)})


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
