"""A real Redis of the test's own: started, hung, restarted without its data, filled."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import redis

from tests.servers.health import held_port

START_SECONDS = 20.0


def redis_binary() -> str:
    """The server's own program. Skips where it is missing."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


class RedisServer:
    """A Redis on a free port of the loopback, which keeps nothing on disk."""

    def __init__(self, *options: str, **environ: str) -> None:
        self._binary = redis_binary()
        self._options = options
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        with held_port() as port:
            self.port = port
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, at the same port as ever, with nothing in it."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.DEVNULL, cwd=Path("/"), env=os.environ | self._environ
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with self.client() as client:
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    return
        raise RuntimeError("redis-server does not answer")

    def stop(self) -> None:
        """End it; what was in it is lost."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def hang(self) -> None:
        """Have it answer nothing, while its connections stand."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> "redis.Redis":
        """A client of the test's own."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def names(self) -> list[str]:
        """The names of all keys in it."""
        with self.client() as client:
            return sorted(key.decode() for key in client.scan_iter())
