"""Links to a Redis of the tests' own, quick where waiting would show nothing."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.settings import Secret, Sharing
from gateway.shared import pulses, redis_lines, redis_link
from gateway.shared.redis_link import RedisLink
from tests.servers.redis_server import RedisServer


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pulses, leases and looks take a fraction of the time."""
    for name, seconds in (("PULSE", 0.05), ("REACH", 0.02), ("REDIS", 0.3), ("MARGIN", 0.2)):
        monkeypatch.setattr(redis_link, f"{name}_SECONDS", seconds)
    for module in (pulses, redis_link, redis_lines):
        # Longer than a machine that is busy with other tests holds up a loop.
        monkeypatch.setattr(module, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(redis_lines, "GLANCE_SECONDS", 0.05)


@asynccontextmanager
async def linked(server: RedisServer, prefix: str = "test") -> AsyncGenerator[RedisLink]:
    """A link that was started, and is closed at the end."""
    link = RedisLink(Sharing(url=Secret(server.url), prefix=prefix))
    await link.start()
    try:
        yield link
    finally:
        await link.aclose()


async def kill(link: RedisLink) -> None:
    """Have it end without a word, as a process that is killed."""
    await link._end_tasks()
    link._lose(ConnectionError("killed"))
    await link._client.aclose()


async def until(is_so: Callable[[], object]) -> None:
    """Return once it is so. Raises TimeoutError."""
    for _ in range(2000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
