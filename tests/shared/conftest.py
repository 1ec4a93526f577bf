"""A real Redis for each module, and links to it that wait no longer than they must."""

from collections.abc import Iterator

import pytest

from tests.servers.redis_server import RedisServer
from tests.shared.linked import hurry


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
