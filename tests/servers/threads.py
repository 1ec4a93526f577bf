"""Real servers in threads of the test process, on free ports of the loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from gateway.connection import Limits
from gateway.serving import configure

LIMITS = Limits(connections=5000)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


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
        server.should_exit = True
        thread.join()
        listener.close()
