"""The servers of ASGI applications: of the gateway, and of the offline model beside it.

This module knows uvicorn, as `connection.py` does.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from litestar import Litestar

from gateway.commands.announcement import ended, waiting
from gateway.connection import Connection, Limits
from gateway.http.parts import Parts
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.listening import METRICS_PORT, CannotListen, connections_for, http_address
from gateway.settings import Settings
from gateway.socket_connection import SocketConnection

logger = logging.getLogger(__name__)

# An idle connection is kept for longer than clients and proxies keep it, so that none is closed under a request.
IDLE_SECONDS = 75
# As often as uvicorn looks if it is to stop.
TICK_SECONDS = 0.1
# A client may take so long to read the end of an answer that was ended.
LAST_SECONDS = 10
# A gateway that was told twice to end waits no longer for Letta to hear which runs are cancelled.
HURRIED_SECONDS = 1


def configure(app: Any, limits: Limits, under_way: RequestsUnderWay | None = None, **more: Any) -> uvicorn.Config:
    """The configuration with which uvicorn serves `app` to clients: with our own classes of connections.

    `under_way` is told of the bytes that become no request.
    """
    http = cast(type[asyncio.Protocol], partial(Connection, limits=limits, under_way=under_way))
    ws = cast(type[asyncio.Protocol], partial(SocketConnection, limits=limits))
    return uvicorn.Config(
        app,
        http=http,
        access_log=False,
        timeout_keep_alive=IDLE_SECONDS,
        log_config=None,
        server_header=False,
        # What is sent is compressed for no WebSocket: each would hold a window of its own for that.
        ws_per_message_deflate=False,
        ws_ping_timeout=limits.unread_seconds,
        **{"ws": ws, **more},
    )


def sockets_for(settings: Settings) -> dict[str, Any]:
    """The part of uvicorn's configuration that is about WebSockets, as the settings have it."""
    server = settings.server
    return {"ws_max_size": server.max_body_mb * 1024 * 1024, "ws_ping_interval": server.ping_seconds}


class GatewayServer(uvicorn.Server):
    """The server of the gateway: a uvicorn that, when it is told to stop, first lets answers under way come to an end.

    Meanwhile it takes nothing new, and says so to whoever asks. What is not done in time is ended with an error, and
    so is everything at once when it is told a second time. `up` is awaited once it accepts connections, with its
    address; `say` gets what a person at a terminal is to know.
    """

    def __init__(
        self,
        app: Litestar,
        settings: Settings,
        up: Callable[[str], Awaitable[None]] | None = None,
        say: Callable[[str], None] = logger.info,
    ) -> None:
        self._app = app
        self._up = up
        self._say = say
        self.drain_seconds = settings.server.drain_seconds
        """The time for answers under way, once it was told to stop."""
        self._hurried = False
        self._place = (settings.server.host, settings.server.port)
        limits = Limits(connections=connections_for(settings))
        parts = self.parts
        place = {"host": settings.server.host, "port": settings.server.port}
        more = {"timeout_graceful_shutdown": LAST_SECONDS, **place, **sockets_for(settings)}
        super().__init__(configure(app, limits, parts.under_way, **more))
        if parts.metrics:
            parts.metrics.read("connections", "Connections of clients.", lambda: len(self.server_state.connections))

    @property
    def parts(self) -> Parts:
        """The parts that its application answers with."""
        parts: Parts = self._app.state.parts
        return parts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            # Two that took the address at the same moment: the other one was the first to be heard.
            await self.lifespan.shutdown()
            raise CannotListen(*self._place, error) from error
        if self.started and self._up:
            await self._up(http_address(self.servers[0].sockets[0]))

    def end(self) -> None:
        """Have it stop, as SIGTERM does."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn itself would then leave everything as it is.
        if self.should_exit:
            self.hurry()
        else:
            super().handle_exit(sig, frame)

    def hurry(self) -> None:
        """Have it stop at once, as a second SIGTERM does."""
        self.should_exit = self._hurried = True

    def tell_waiting(self, answers: int) -> None:
        """Say that it waits for so many answers to come to their end."""
        self._say(waiting(answers, self.drain_seconds))

    def tell_ended(self, answers: int) -> None:
        """Say that so many answers are ended."""
        self._say(ended(answers))

    async def _drain(self) -> None:
        """Take nothing new, and return once nothing is under way, or the time for that is over."""
        parts = self.parts
        parts.door.closed = True
        self.tell_waiting(parts.answers_under_way)
        await self._wait_while(lambda: parts.answers_under_way > 0 and not self._hurried, self.drain_seconds)

    async def _wait_while(self, goes_on: Callable[[], bool], seconds: float) -> None:
        """Return once something has ended, or the time for it is over."""
        clock = asyncio.get_running_loop().time
        began = clock()
        ticks = 0
        while goes_on() and clock() < began + seconds:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            await self.on_tick(ticks)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain; end what is still under way, with an error that its client is told; then connections, then Letta."""
        await self._drain()
        parts = self.parts
        if parts.answers_under_way:
            self.tell_ended(parts.answers_under_way)
        parts.runs.stop()
        parts.task_runs.stop()
        if self._hurried:
            await parts.runs.aclose(HURRIED_SECONDS)
            self.config.timeout_graceful_shutdown = HURRIED_SECONDS
        # WebSockets close when their answers have ended; uvicorn would cut those.
        last = HURRIED_SECONDS if self._hurried else LAST_SECONDS
        await self._wait_while(lambda: parts.door.staying > 0, last)
        await super().shutdown(sockets)


class _Beside(uvicorn.Server):
    """A uvicorn within a process that has one already: it leaves the signals to that one."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def beside(app: Litestar) -> AsyncIterator[str]:
    """Serve `app` on a free port of the loopback while entered; yields its address, `http://127.0.0.1:49152`."""
    config = uvicorn.Config(
        app, access_log=False, log_config=None, timeout_keep_alive=IDLE_SECONDS, ws="none", lifespan="off"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with _served(config, [listener]) as address:
            yield address


# Few read metrics, and each of them on one connection.
METRICS_LIMITS = Limits(connections=50)


@asynccontextmanager
async def metrics_served(app: Litestar, sockets: list[socket.socket]) -> AsyncIterator[str]:
    """Serve the application of metrics on these sockets while entered; yields its address. Raises CannotListen."""
    try:
        async with _served(configure(app, METRICS_LIMITS, lifespan="off", ws="none"), sockets) as address:
            yield address
    except OSError as error:
        host, port = sockets[0].getsockname()[:2]
        raise CannotListen(host, port, error, METRICS_PORT) from error


@asynccontextmanager
async def _served(config: uvicorn.Config, sockets: list[socket.socket]) -> AsyncIterator[str]:
    server = _Beside(config)
    serving, up = asyncio.create_task(server.serve(sockets)), asyncio.create_task(server.up.wait())
    try:
        # The serving ends before it is up where another has begun to listen at the same moment: it raises, below.
        if (await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED))[0] == {serving}:
            await serving
        yield http_address(sockets[0])
    finally:
        server.should_exit = True
        server.force_exit = True  # nobody needs an answer that is still under way
        await serving
