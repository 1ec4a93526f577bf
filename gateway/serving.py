"""The servers of ASGI applications: of the gateway, and of the offline model beside it.

This module knows uvicorn, as `connection.py` does.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from litestar import Litestar

from gateway.announcement import waiting
from gateway.connection import Connection, Limits
from gateway.settings import Settings
from gateway.turns.runs.registry import Runs

logger = logging.getLogger(__name__)

# An idle connection is kept for longer than clients and proxies keep it, so that none is closed under a request.
IDLE_SECONDS = 75
# The number of files that a process has open beside connections.
OTHER_FILES = 100


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


def connections_for(settings: Settings) -> int:
    """The number of connections that the settings allow, or that this process may have open, if that is less.

    The limit of open files is raised as far as it may be. An answer counts twice: it may need a connection to Letta
    beside its client's.
    """
    wanted = settings.server.max_connections
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - OTHER_FILES) // 2))
    if room < wanted:
        logger.warning("max_connections is %d, not %d: this process may open %d files (ulimit -n)", room, wanted, soft)
    return room


class CannotListen(Exception):
    """The address to listen on cannot be had; the text says which, and why."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        hint = " (another port: --port, or [server] port)" if error.errno == errno.EADDRINUSE else ""
        super().__init__(f"Nothing can listen at {host}, port {port}: {error.strerror or error}{hint}")


def bound(host: str, port: int) -> list[socket.socket]:
    """Sockets of this address, one for each family of a name such as `localhost`, on which nobody is heard yet.

    Raises CannotListen.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bind(family, address) for family, _, _, _, address in dict.fromkeys(found)]
    except OSError as error:
        raise CannotListen(host, port, error) from error


def _bind(family: int, address: object) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # A port whose last connections are still being closed is free: https://docs.python.org/3/library/socket.html
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)  # type: ignore[arg-type]
    except OSError:
        made.close()
        raise
    return made


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

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Take the address, start Letta, then serve.

        Raises CannotListen; and the UpstreamError of that start, which uvicorn would only log, as a bug.
        """
        sockets = sockets or bound(*self._place)
        upstream = self._app.state.upstream
        try:
            await upstream.start()
        except BaseException:
            await upstream.aclose()
            for each in sockets:
                each.close()
            raise
        await super().serve(sockets)

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
        runs: Runs = self._app.state.runs
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
