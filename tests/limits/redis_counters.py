"""Counters of a process on a real Redis, as the tests make several of."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from gateway.limits import shared_spending
from gateway.limits.shared_counters import SharedCounters
from tests.servers.redis_server import RedisServer
from tests.shared import linked


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have links and counters notice in a moment what they notice in seconds."""
    linked.hurry(monkeypatch)
    monkeypatch.setattr(shared_spending, "SPENT_AGAIN_SECONDS", 0.02)


@asynccontextmanager
async def counting(server: RedisServer, prefix: str) -> AsyncGenerator[SharedCounters]:
    """The counters of one process more."""
    async with linked.linked(server, prefix) as link:
        counters = SharedCounters(link)
        await counters.start()
        try:
            yield counters
        finally:
            await counters.aclose()
