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
from gateway.listening import CannotListen, connections_for
from gateway.settings import Settings
from gateway.turns.runs.registry import Runs

logger = logging.getLogger(__name__)

# An idle connection is kept for longer than clients and proxies keep it, so that none is closed under a request.
IDLE_SECONDS = 75


def configure(app: Any, limits: Limits, **more: Any) -> uvicorn.Config:
    """The configuration with which uvicorn serves `app` to clients: with our own class of connections."""
    http = cast(type[asyncio.Protocol], partial(Connection, limits=limits))
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
        super().__init__(configure(app, limits, host=settings.server.host, port=settings.server.port))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            # Two that took the address at the same moment: the other one was the first to be heard.
            await self.lifespan.shutdown()
            raise CannotListen(*self._place, error) from error
        if self.started and self._up:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            await self._up(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets=None) -> None:  # type: ignore[no-untyped-def]
        runs: Runs = self._app.state.parts.runs
        self._say(waiting(len(runs.under_way), self._grace))
        asyncio.get_running_loop().call_later(self._grace, runs.stop)
        await super().shutdown(sockets)


class _Beside(uvicorn.Server):
    """A uvicorn within a process that has one already: it leaves the signals to that one."""

    def __init__(self, app: Litestar) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                timeout_keep_alive=IDLE_SECONDS,
                ws="none",
                lifespan="off",
            )
        )
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
    server = _Beside(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            await server.up.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = True  # nobody needs a model's answer that is still under way
            await serving
