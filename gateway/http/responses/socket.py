"""`GET /v1/responses`, upgraded: responses over a WebSocket, one after the other, in OpenAI's protocol.

A connection has a record, and so has each response that is asked for on it. Nothing is held for a client that is slow:
its frames are made when it takes them. Knows ASGI, and of Litestar only its headers.
https://developers.openai.com/api/docs/guides/websocket-mode
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from gateway.domain.errors import Forbidden, GatewayError, InvalidRequest, RouteNotFound
from gateway.domain.events import TokensCounted
from gateway.http.answers.answering import Answer
from gateway.http.asking import Asker, asker_of, begin, prepare
from gateway.http.errors import to_gateway_error
from gateway.http.incoming.auth import Admitted
from gateway.http.incoming.body import let_others
from gateway.http.incoming.headers import IDEMPOTENCY_HEADER, RETRY_HEADER
from gateway.http.middleware import POLICY_VIOLATED, check_own_machine, send_refusal
from gateway.http.parts import Parts
from gateway.http.record import CLIENT_LEFT, REQUEST_ID, Record, new_request_id, record_of
from gateway.http.responses.create import head_of_nothing, head_of_run
from gateway.http.responses.frames import (
    CreateFrame,
    Recall,
    error_frame,
    framing_of,
    read_frame,
    to_be_checked,
)
from gateway.http.responses.heads import ResponseHead
from gateway.http.responses.owners import naming, user_of
from gateway.http.responses.way import ResponsesWay
from gateway.http.unserved import plain
from gateway.settings import Key
from gateway.turns.chats.markers import user_digest
from gateway.wires.responses.echo import to_echo
from gateway.wires.responses.read import to_request
from gateway.wires.responses.request import decode_request

SOCKET_PATH = "/v1/responses"
# The method in the records of what is asked for over a WebSocket, and in its log lines.
SOCKET_METHOD = "WS"
# As long as OpenAI's connections last.
LASTING_SECONDS = 3600.0
# For so long a connection stays on which nothing is asked for: longer than a turn waits for a client's tools.
QUIET_SECONDS = 900.0
# The most requests that may wait for those before them.
MOST_AHEAD = 16
# Headers that name one request, and not all that come on a connection.
_OF_ONE_REQUEST = frozenset({IDEMPOTENCY_HEADER, RETRY_HEADER})
# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
NORMAL, GOING_AWAY = 1000, 1001


class Ending(Struct, frozen=True):
    """The end of a connection, as its client is told of it."""

    code: int
    reason: str
    error: GatewayError | None = None
    """Told in a frame before."""


TOO_LONG = Ending(
    GOING_AWAY,
    "connected for too long",
    InvalidRequest(
        "This connection has lasted for 60 minutes, and ends: open a new one.",
        code="websocket_connection_limit_reached",
    ),
)
QUIET = Ending(NORMAL, "nothing was asked for")
FLOODED = Ending(POLICY_VIOLATED, "too much was asked for at once")
SHUT_DOWN = Ending(GOING_AWAY, "shut down or restarted")


def with_sockets(app: ASGIApp, parts: Parts) -> ASGIApp:
    """`app`, and beside it WebSockets for responses; one that may not be opened is refused as a request is."""

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.WEBSOCKET:
            await app(scope, receive, send)
            return
        await receive()  # that it is to be opened
        try:
            socket = ResponsesSocket(parts, scope, receive, send)
        except Exception as error:
            await send_refusal(scope, send, to_gateway_error(error))
        else:
            await socket.serve()

    return routed


class ResponsesSocket:
    """One connection, and the responses that are asked for on it. Raises GatewayError where it may not be opened."""

    def __init__(self, parts: Parts, scope: Scope, receive: Receive, send: Send) -> None:
        if plain(scope["path"]) != SOCKET_PATH:
            raise RouteNotFound(f"There is no WebSocket at this address: {SOCKET_PATH} has one.")
        self.on_leave: Callable[[], None] | None = None
        self._parts, self._receive, self._send = parts, receive, send
        self._headers = Headers.from_scope(scope)
        self._record = record_of(scope)
        if parts.settings.open:
            check_own_machine(self._headers)
        self._admitted = self._admit(self._record)
        if not parts.settings.open:
            _check_origin(self._headers, self._admitted.key)
        asker_of(parts, self._admitted, self._headers, self._record)
        self._most_bytes = parts.settings.server.max_body_mb * 1024 * 1024
        self._recall = Recall(self._most_bytes)
        self._waiting: deque[bytes] = deque()
        """The messages that came, and that nobody has looked at."""
        self._news = asyncio.Event()
        """Something has come: a message, an end, or a piece of the answer that is being given."""
        self._gone = False
        """True: the client has left."""
        self._ending: Ending | None = None
        self._answers = False
        """True: an answer is being given."""
        self._stream_id: str | None = None
        """That of the response which is asked for."""
        self._owner = ""
        """The digest of the user who asks for it; empty if nobody can tell."""

    def _admit(self, record: Record) -> Admitted:
        """The key that was shown at first, if it is right now. Raises what `KeyRing.admit` does."""
        admitted = self._parts.in_force.ring.admit(self._headers)
        record.key = admitted.key.name
        return admitted

    def cut(self, error: GatewayError) -> None:
        """End the connection with an error; an answer under way tells it itself."""
        self._end(Ending(POLICY_VIOLATED, "the key is no longer valid", None if self._answers else error))

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._news.set()

    # A connection, from its begin to its end

    async def serve(self) -> None:
        """Answer until the end of the connection. Raises nothing."""
        self._parts.in_force.watch(self, self._admitted)
        reading = None
        try:
            with self._parts.door.staying_in(self._news.set):
                await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})
                reading = asyncio.create_task(self._read())
                await self._answer_all()
        except OSError:
            # https://asgi.readthedocs.io/en/latest/specs/www.html#send-event: of a client that has left.
            self._gone = True
        except Exception as error:
            to_gateway_error(error)
        finally:
            if reading:
                reading.cancel()
            if self.on_leave:
                self.on_leave()

    async def _read(self) -> None:
        """Take messages from the client until it leaves, or sends more than can wait."""
        while not self._gone and not self._ending:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
            else:
                # As text it comes from other servers than ours.
                data: Any = message.get("bytes") or str(message.get("text") or "").encode()
                self._take(data)
            self._news.set()

    def _take(self, data: bytes) -> None:
        self._waiting.append(data)
        if len(self._waiting) > MOST_AHEAD or sum(map(len, self._waiting)) > self._most_bytes:
            self._waiting.clear()
            self._end(FLOODED)

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LASTING_SECONDS
        while (data := await self._next(until)) is not None:
            await self._answer(data)
        if self._ending and not self._gone:
            await self._say_goodbye(self._ending)

    async def _next(self, until: float) -> bytes | None:
        """The next message; None if the connection ends. It does not end while a message waits that came in time."""
        loop = asyncio.get_running_loop()
        quiet = loop.time() + QUIET_SECONDS
        while not self._gone and not self._ending:
            self._news.clear()
            if loop.time() >= until:
                self._end(TOO_LONG)
            elif self._waiting:
                return self._waiting.popleft()
            elif self._parts.door.closed:
                self._end(SHUT_DOWN)
            elif loop.time() >= quiet:
                self._end(QUIET)
            else:
                await self._news_until(min(quiet, until))
        return None

    async def _news_until(self, moment: float) -> bool:
        """Wait for news; False if there is none until a moment of the loop's clock."""
        try:
            async with asyncio.timeout_at(moment):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _say_goodbye(self, ending: Ending) -> None:
        if ending.error:
            await self._send_text(error_frame(ending.error, self._record.id, None))
            self._record.fail(ending.error)
        await self._send({"type": "websocket.close", "code": ending.code, "reason": ending.reason})

    async def _send_text(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": None, "text": data.decode()})

    # One response

    async def _answer(self, data: bytes) -> None:
        """Answer one message, under a record of its own. Raises OSError for a client that has left."""
        record = Record(new_request_id(), SOCKET_METHOD, self._record.path)
        self._parts.under_way.begin(record)
        of_none, self._answers, self._stream_id = REQUEST_ID.set(record.id), True, None
        self._owner = ""
        frame: CreateFrame | None = None
        try:
            frame = read_frame(data)
            self._stream_id = frame.stream_id
            with self._parts.door.one_more():
                await self._create(frame, data, record)
        except OSError:
            record.outcome = CLIENT_LEFT
            raise
        except Exception as error:
            told = to_gateway_error(error)
            record.fail(told)
            record.status = told.status_code
            await self._send_text(error_frame(told, record.id, self._stream_id))
        finally:
            if record.outcome and frame and frame.previous_response_id:
                id = frame.previous_response_id
                self._recall.forget(id, self._parts.seal.read_response(id), self._owner)
            self._answers = False
            self._parts.under_way.end(record)
            REQUEST_ID.reset(of_none)

    async def _create(self, frame: CreateFrame, data: bytes, record: Record) -> None:
        """Give a response, or prepare one. Raises GatewayError and UpstreamError before the first of its events."""
        asker = self._asker(record)
        self._owner = _owner_of(asker, frame)
        body = self._recall.completed(frame, data, self._owner)
        prepares = frame.generate is False
        decoded = decode_request(to_be_checked(body) if prepares else body)
        await let_others(body)
        asked = msgspec.structs.replace(to_request(decoded), stream=True)
        echo = msgspec.structs.replace(to_echo(decoded), previous_response_id=frame.previous_response_id)
        await let_others(body)
        way = ResponsesWay(asker, asked, echo, self._recall.marker)
        if prepares:
            head = head_of_nothing(echo, await prepare(asker, asked, way))
            await self._tell_prepared(head, body, record)
            return
        begun = await begin(asker, asked, body, way)
        try:
            head = head_of_run(begun, echo)
            answer = Answer(
                begun.run, head.narrator(), head.encoder(self._parts.seal, framing_of(frame.stream_id)), record
            )
            self._parts.in_force.watch(answer, asker.admitted)
            try:
                await self._stream(answer, record)
            finally:
                answer.leave()
        finally:
            await begun.leave(had=not record.left)
        if not record.outcome and begun.turn and head.place.kind == "scratch":
            self._recall.keep(head.place, begun.turn.marker)

    def _asker(self, record: Record) -> Asker:
        """Whoever asks for one response. Raises what `KeyRing.admit` does."""
        asker = asker_of(self._parts, self._admit(record), self._headers, record)
        named = {name: value for name, value in asker.named.items() if name not in _OF_ONE_REQUEST}
        return msgspec.structs.replace(asker, named=named)

    async def _tell_prepared(self, head: ResponseHead, body: bytes, record: Record) -> None:
        encoder = head.encoder(self._parts.seal, framing_of(self._stream_id))
        self._recall.prepare(encoder.response.id, body, self._owner)
        record.status = 200
        await self._send_frames(encoder.begin() + encoder.encode([TokensCounted()]) + encoder.end())

    async def _stream(self, answer: Answer, record: Record) -> None:
        """Tell an answer as it comes. Raises what its run fails with before it has said anything."""
        # Until it has its end, it has none: nobody tells of a client that leaves.
        record.streamed, record.outcome = True, CLIENT_LEFT
        answer.listen(self._news.set)
        frames, more = await self._first_frames(answer)
        has_said = bool(frames)
        frames = frames or answer.begin()
        record.status = 200
        while True:
            await self._send_frames(frames)
            self._news.clear()
            if self._gone or not more:
                return
            # An error has a status and any code; a response that has failed has neither.
            frames, more = answer.take_frames_or_failure() if has_said else answer.take_frames()
            has_said = has_said or bool(frames)
            if not frames and more:
                await self._news.wait()

    async def _first_frames(self, answer: Answer) -> tuple[bytes, bool]:
        """The first frames, for which one waits a moment; none if they take longer."""
        until = asyncio.get_running_loop().time() + self._parts.settings.server.first_event_seconds
        while not self._gone:
            self._news.clear()
            frames, more = answer.take_frames()
            if frames or not more:
                return frames, more
            if not await self._news_until(until):
                break
        return b"", True

    async def _send_frames(self, frames: bytes) -> None:
        for line in frames.splitlines():
            await self._send_text(line)


def _owner_of(asker: Asker, frame: CreateFrame) -> str:
    """The digest of the user whom a request names; empty for one that is refused for that."""
    try:
        user = user_of(asker, naming(frame.users), needed=True)
    except GatewayError:
        return ""
    return user_digest(user.scope, user.id) if user else ""


def _check_origin(headers: Headers, key: Key) -> None:
    """Check that a page may use the key: browsers ask nobody before they open a WebSocket. Raises Forbidden.

    Some programs name the address that they connect to, as a page of the gateway's own would.
    """
    own = {f"{scheme}://{host}" for host in headers.getall("host", []) for scheme in ("http", "https")}
    if not own.union(key.origins).issuperset(headers.getall("origin", [])):
        raise Forbidden("This key may not be used from this origin.", code="origin_not_allowed")
