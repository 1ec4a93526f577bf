"""The connection to an App Server: one WebSocket, requests by their id, frames by their conversation.

The only module that knows websockets.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES
from websockets.frames import Frame as WebSocketFrame
from websockets.protocol import Event, State

from gateway.domain import errors
from gateway.domain.texts.halves import UNREADABLE, decode, decode_pieces, mended
from gateway.letta import error_words
from gateway.letta.app_server.frames import RUNTIME_FRAMES, Arrival, Frame, HalvedFrame, Head, ServerAnswer
from gateway.settings import is_loopback

logger = logging.getLogger(__name__)
OPEN_SECONDS = 5.0
FIRST_DELAY, LAST_DELAY = 0.1, 5.0
# For so long the answer to a ping is waited for, once a request was not answered.
DOUBT_SECONDS = 5.0
# Listings and files come in one frame.
MAX_FRAME_BYTES = 256 * 1024 * 1024
# A longer one would have the App Server close the connection, and end what goes on over it.
# https://github.com/websockets/ws/blob/master/doc/ws.md#new-websocketserveroptions-callback
MAX_SENT_BYTES = 100 * 1024 * 1024

BROKE = "the connection to the App Server broke"

T = TypeVar("T", bound="ServerAnswer")
_decode_frame = msgspec.json.Decoder(Frame).decode
Address = Callable[[], Awaitable[tuple[str, str | None]]]


class _WebSocket(ClientConnection):
    """A WebSocket whose messages are handed on in the callback that reads them; nobody may call its `recv`.

    What `receive` is called with is a message, text or not; it raises nothing.
    """

    def __init__(self, receive: Callable[[bytes], None], protocol: ClientProtocol, **more: Any) -> None:
        super().__init__(protocol, **more)
        self._receive_message = receive
        self._pieces: list[bytes] = []
        """The frames of a message that has not ended."""

    # https://websockets.readthedocs.io/en/stable/reference/sansio/client.html: events after the handshake are frames
    def process_event(self, event: Event) -> None:
        if not isinstance(event, WebSocketFrame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
        elif event.fin and not self._pieces:
            self._receive_message(bytes(event.data))
        else:
            self._pieces.append(bytes(event.data))
            if event.fin:
                whole = b"".join(self._pieces)
                self._pieces.clear()
                self._receive_message(whole)


class OpenSocket:
    """A WebSocket, with what was begun on it and ends with it."""

    websocket: ClientConnection

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[bytes]] = {}
        self.runtimes: dict[str, int] = {}
        """The conversations whose frames come over this connection, and what tells the tools that are known in each."""
        self.heard = 0
        """The number of frames that have come."""

    @property
    def is_lost(self) -> bool:
        """True once nothing more can be sent, from the moment at which its end is read."""
        return self.websocket.state is not State.OPEN or self.websocket.transport.is_closing()


class Listener(Protocol):
    """The one that hears the frames of a conversation."""

    socket: OpenSocket | None
    """The socket that they come over; None until they were asked for."""

    def hear(self, arrival: Arrival) -> None:
        """Take what has arrived. Raises nothing."""


class AppServerConnection:
    """A connection to an App Server that is kept while it can be, and made again when it broke.

    `address` tells where, and the token to show. `answer` is called with the bytes of frames that ask something of
    the gateway, `greet` with every new connection.
    """

    def __init__(
        self,
        address: Address,
        request_seconds: float,
        ping_seconds: float,
        answer: Callable[[Head, bytes], None],
        greet: Callable[[], Awaitable[None]],
    ) -> None:
        self._address = address
        self._request_seconds = request_seconds
        self._ping_seconds = ping_seconds
        self._answer = answer
        self._greet = greet
        self._socket: OpenSocket | None = None
        self._connecting: asyncio.Task[OpenSocket] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[str, Listener] = {}
        self._closed = False

    async def open_socket(self) -> OpenSocket:
        """The socket that is open, or a new one; one attempt for all who ask meanwhile. Raises UpstreamError."""
        # Until it has been greeted, a connection is the greeting's alone.
        if self._connecting is asyncio.current_task():
            if self._socket is None:
                raise errors.Unreachable(BROKE)
            return self._socket
        # Who followed a lost one hears of that a little later.
        if self._connecting is None and self._socket and not self._socket.is_lost:
            return self._socket
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        attempt = self._connecting
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            # Closing ends the attempt, which is no cancellation of who waits for it.
            if self._closed and not _is_cancelled():
                raise errors.Unreachable("the gateway is shutting down") from None
            raise

    def _connected(self, attempt: asyncio.Task[OpenSocket]) -> None:
        self._connecting = None
        # Whoever waited for it has its error; nobody may have.
        if not attempt.cancelled():
            attempt.exception()

    async def _connect(self) -> OpenSocket:
        if self._closed:
            raise errors.Unreachable("the gateway is shutting down")
        url, token = await self._address()
        socket = OpenSocket()
        socket.websocket = await self._open(url, token, partial(self._receive, socket))
        self._socket = socket
        self._start(self._follow(socket))
        try:
            await self._greet()
        except errors.UpstreamError:
            await socket.websocket.close()
            raise
        return socket

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # It goes on for all requests, and is not to be logged as work of the one that has begun it.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, url: str, token: str | None, receive: Callable[[bytes], None]) -> ClientConnection:
        try:
            return await connect(
                url,
                additional_headers={"Authorization": f"Bearer {token}"} if token else None,
                open_timeout=OPEN_SECONDS,
                ping_interval=self._ping_seconds,
                ping_timeout=self._ping_seconds * 2,
                max_size=MAX_FRAME_BYTES,
                # Deltas are small, and the way is short or encrypted.
                compression=None,
                create_connection=cast(type[ClientConnection], partial(_WebSocket, receive)),
                proxy=None if is_loopback(websockets.uri.parse_uri(url).host) else True,
            )
        except websockets.InvalidStatus as error:
            status = error.response.status_code
            kind = errors.KeyRefused if status in (401, 403) else errors.Unreachable
            raise kind(f"HTTP {status}") from error
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            raise errors.Unreachable(type(error).__name__) from error

    async def _follow(self, socket: OpenSocket) -> None:
        """See to it that everybody is told when a connection is lost, and that there is another soon."""
        try:
            await socket.websocket.wait_closed()
            if not self._closed:
                error = socket.websocket.protocol.close_exc
                logger.warning("the connection to the App Server broke: %s", type(error).__name__)
        finally:
            self._lose(socket)
        if not self._closed:
            await self._reconnect()

    def _receive(self, socket: OpenSocket, data: bytes) -> None:
        """Hand a frame to who waits for it; what nobody knows is skipped."""
        socket.heard += 1
        try:
            self._hand_over(socket, data, None)
        except UNREADABLE:
            self._receive_mended(socket, data)

    def _receive_mended(self, socket: OpenSocket, data: bytes) -> None:
        """Node writes half of a surrogate pair wherever it has cut a text."""
        try:
            self._hand_over(socket, mended(data), data)
        except UNREADABLE:
            logger.warning("a frame of the App Server's could not be read")

    def _hand_over(self, socket: OpenSocket, data: bytes, halved: bytes | None) -> None:
        """`halved`: how the frame came, if `data` is what was made of it."""
        head: Head
        try:
            head = frame = _decode_frame(data)
        except msgspec.ValidationError:
            # An answer may have anything in fields that are named like a frame's.
            head, frame = msgspec.json.decode(data, type=Head), None
        waiting = socket.waiting.pop(head.request_id, None) if head.request_id else None
        if waiting:
            if not waiting.done():
                waiting.set_result(data)
        elif head.type in RUNTIME_FRAMES:
            self._deliver(decode_pieces(halved, HalvedFrame) if halved else frame or _decode_frame(data))
        else:
            self._answer(head, data)

    def _deliver(self, frame: Frame) -> None:
        listener = self._listeners.get((frame.runtime and frame.runtime.conversation_id) or "")
        if listener:
            listener.hear(frame)

    def _lose(self, socket: OpenSocket) -> None:
        """Tell everybody who waits that nothing more will come."""
        if self._socket is socket:
            self._socket = None
        for waiting in socket.waiting.values():
            if not waiting.done():
                waiting.set_exception(errors.BrokenStream(BROKE, taken=False))
        for listener in list(self._listeners.values()):
            if listener.socket is socket:
                listener.hear(errors.BrokenStream(BROKE))

    async def _reconnect(self) -> None:
        """Connect again before somebody needs it, ever less often."""
        delay = FIRST_DELAY
        while not self._closed:
            try:
                await self.open_socket()
                return
            except errors.UpstreamError as error:
                logger.warning("the App Server cannot be reached: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    async def request(self, type: str, kind: type[T], **fields: Any) -> T:
        """The answer to a request. Raises UpstreamError; nobody answers what is malformed, so there is a limit.

        What breaks is no turn, so that no error is `taken`: that is for the one to say who sent one.
        """
        return _checked(type, await self._ask(type, fields), kind)

    async def _ask(self, type: str, fields: dict[str, Any]) -> bytes:
        socket = await self.open_socket()
        id = uuid.uuid4().hex
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        socket.waiting[id] = waiting
        # A connection that breaks while the request is being sent tells both; the one error is enough.
        waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            async with asyncio.timeout(self._request_seconds):
                await self._send(socket, {"type": type, "request_id": id, **fields})
                return await waiting
        except TimeoutError:
            self._start(self._doubt(socket))
            raise errors.TimedOut(f"no answer to {type}", taken=False) from None
        finally:
            socket.waiting.pop(id, None)

    async def _doubt(self, socket: OpenSocket) -> None:
        """Break a connection that does not even answer a ping; what stands behind it may hang.

        One that brings anything else meanwhile is only slow, and ends nobody's turn.
        """
        heard = socket.heard
        try:
            async with asyncio.timeout(DOUBT_SECONDS):
                await (await socket.websocket.ping())
        except (TimeoutError, websockets.ConnectionClosed):
            if socket.heard == heard:
                socket.websocket.transport.abort()

    async def tell(self, frame: dict[str, Any]) -> None:
        """Send what is not answered. Raises UpstreamError."""
        await self._send(await self.open_socket(), frame)

    async def _send(self, socket: OpenSocket, frame: dict[str, Any]) -> None:
        data = msgspec.json.encode(frame)
        if len(data) > MAX_SENT_BYTES:
            raise errors.TooLong(f"a frame of {len(data)} bytes")
        try:
            await socket.websocket.send(data, text=True)
        except websockets.ConnectionClosed as error:
            raise errors.BrokenStream(BROKE, taken=False) from error

    @contextmanager
    def listening(self, conversation_id: str, listener: Listener) -> Iterator[None]:
        """While entered, the listener hears each frame of a conversation as it arrives.

        Once its socket is lost, it hears an error. Whoever began to listen last hears.
        """
        self._listeners[conversation_id] = listener
        try:
            yield
        finally:
            if self._listeners.get(conversation_id) is listener:
                del self._listeners[conversation_id]

    def forget_runtime(self, conversation_id: str) -> None:
        """Take the frames of a conversation for not asked for."""
        if self._socket:
            self._socket.runtimes.pop(conversation_id, None)

    async def aclose(self) -> None:
        self._closed = True
        if self._connecting:
            self._connecting.cancel()
        if self._socket:
            await self._socket.websocket.close()
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return bool(task and task.cancelling())


def _checked(type: str, data: bytes, kind: type[T]) -> T:
    """The answer, if it is a good one. Raises UpstreamError."""
    try:
        plain = decode(data, ServerAnswer)
        if plain.success and plain.accepted:
            return decode(data, kind)
    except UNREADABLE as error:
        raise errors.Refused(f"an answer of an unknown shape to {type}") from error
    said = plain.error or ""
    failure = error_words.of_files(said) or (errors.NotFound if said.endswith("not found") else errors.Refused)
    raise failure(f"{type} was refused", taken=False)
