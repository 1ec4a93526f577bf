"""Gateways of two worker processes on a real Redis, and what the system tells of their processes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from openai import OpenAI

from tests.gateways import KEY, GatewayProcess, sdk

WORKERS = 2
END_SECONDS = 60.0


def shared(url: str) -> str:
    """The lines of a configuration by which gateways share a Redis."""
    return f'[shared]\nurl = "{url}"\n'


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that have not ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def workers(gateway: GatewayProcess) -> list[int]:
    """The processes of its workers."""
    return [pid for pid in children(gateway.process.pid) if "gateway.workers.worker" in command(pid)]


def app_server(gateway: GatewayProcess) -> int:
    """The process of its App Server, below the one that keeps it."""
    (keeper,) = [pid for pid in children(gateway.process.pid) if "keeper.py" in command(pid)]
    (child,) = children(keeper)
    return child


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found = children(pid)
    return [*found, *(below for each in found for below in descendants(each))]


def is_gone(pid: int) -> bool:
    """True for a process that has ended, whoever has looked after it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def await_gone(pids: list[int]) -> None:
    """Return once all of them have ended."""
    deadline = time.monotonic() + END_SECONDS
    while left := [command(pid) for pid in pids if not is_gone(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@contextmanager
def scattered(base_url: str, key: str = KEY) -> Iterator[httpx.Client]:
    """A client each of whose requests has a connection of its own, and so comes to any worker."""
    once = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=60, limits=once) as client:
        yield client


@contextmanager
def scattered_sdk(base_url: str) -> Iterator[OpenAI]:
    """The openai SDK, each of whose requests has a connection of its own."""
    with sdk(base_url) as client:
        yield client.with_options(default_headers={"connection": "close"})
