"""Real servers in threads of the test process, on free ports of the loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application; gives its base URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    # Longer than clients keep an idle connection, so that none is closed under a request.
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_keep_alive=75))
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
