"""Time passes in no time, as for the tests of turns."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.redis_server import RedisServer
from tests.turns.virtual_time import VirtualTimeLoop


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
