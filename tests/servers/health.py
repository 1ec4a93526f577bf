"""Servers that are processes on ports of the loopback: which port, and when they are up."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


@contextmanager
def held_port() -> Iterator[int]:
    """A free port that nobody else is given while a server is slow to listen there; that server can all the same."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def await_health(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float, **how: Any) -> None:
    """Returns when `url` answers a request made as `how` tells httpx.

    Raises RuntimeError with the end of `log` if it does not in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, timeout=5, **how).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
