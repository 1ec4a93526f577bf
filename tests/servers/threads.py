"""Real servers in threads of the test process, on free ports of the loopback."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from gateway.connection import Limits
from gateway.serving import configure

LIMITS = Limits(connections=5000)
LOST_SECONDS = 0.002


class _Server(uvicorn.Server):
    """A uvicorn that stops when it is told to: its own looks whether it is to only ten times a second, and twice."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.is_up.set()

    async def main_loop(self) -> None:
        ticking = asyncio.create_task(super().main_loop())
        await self._stopping.wait()
        ticking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        told = set[Any]()
        # One that was accepted before is known a few rounds of the loop later, and one that is closed is lost then.
        while True:
            for connection in self.server_state.connections - told:
                connection.shutdown()
                told.add(connection)
            if answering := self.server_state.tasks:
                await asyncio.wait(answering)
            await asyncio.sleep(LOST_SECONDS)
            if not (self.server_state.connections or self.server_state.tasks):
                break
        await self.lifespan.shutdown()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)


@contextmanager
def served(app: Any, limits: Limits = LIMITS, **more: Any) -> Iterator[str]:
    """Serve an ASGI application as the gateway is served; gives its base URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = _Server(configure(app, limits, **more))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        if not server.is_up.wait(30):
            raise RuntimeError("the server did not start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        if server.started:
            server.stop()
        else:
            server.should_exit = True
        thread.join()
        listener.close()
