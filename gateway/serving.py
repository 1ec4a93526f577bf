"""The servers of ASGI applications: of the gateway, and of the offline model beside it.

This module knows uvicorn, as `connection.py` does.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from litestar import Litestar

from gateway.commands.announcement import waiting
from gateway.connection import Connection, Limits
from gateway.http.parts import Parts
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.listening import METRICS_PORT, CannotListen, connections_for
from gateway.settings import Settings
from gateway.turns.runs.registry import Runs

logger = logging.getLogger(__name__)

# An idle connection is kept for longer than clients and proxies keep it, so that none is closed under a request.
IDLE_SECONDS = 75


def configure(app: Any, limits: Limits, under_way: RequestsUnderWay | None = None, **more: Any) -> uvicorn.Config:
    """The configuration with which uvicorn serves `app` to clients: with our own class of connections.

    `under_way` is told of the bytes that become no request.
    """
    http = cast(type[asyncio.Protocol], partial(Connection, limits=limits, under_way=under_way))
    return uvicorn.Config(
        app,
        http=http,
        access_log=False,
        timeout_keep_alive=IDLE_SECONDS,
        log_config=None,
        server_header=False,
        **{"ws": "none", **more},
    )


class GatewayServer(uvicorn.Server):
    """The server of the gateway: a uvicorn that, when it stops, gives answers under way some seconds, then ends them.

    `up` is awaited once it accepts connections, with its address; `say` gets what a person at a terminal is to know.
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
        self._grace = settings.server.shutdown_seconds
        self._place = (settings.server.host, settings.server.port)
        limits = Limits(connections=connections_for(settings))
        parts: Parts = app.state.parts
        super().__init__(configure(app, limits, parts.under_way, host=settings.server.host, port=settings.server.port))
        if parts.metrics:
            parts.metrics.read("connections", "Connections of clients.", lambda: len(self.server_state.connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            # Two that took the address at the same moment: the other one was the first to be heard.
            await self.lifespan.shutdown()
            raise CannotListen(*self._place, error) from error
        if self.started and self._up:
            await self._up(_address_of(self.servers[0].sockets[0]))

    async def shutdown(self, sockets=None) -> None:  # type: ignore[no-untyped-def]
        runs: Runs = self._app.state.parts.runs
        self._say(waiting(len(runs.under_way), self._grace))
        asyncio.get_running_loop().call_later(self._grace, runs.stop)
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
        async with _served(configure(app, METRICS_LIMITS, lifespan="off"), sockets) as address:
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
        yield _address_of(sockets[0])
    finally:
        server.should_exit = True
        server.force_exit = True  # nobody needs an answer that is still under way
        await serving


def _address_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:49152`"""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
