"""An App Server that is played, and the upstream over it."""

from collections.abc import AsyncIterator

import pytest

from gateway.letta.app_server.upstream import AppServerUpstream
from tests.letta.app_server.upstreams import upstream_of
from tests.servers.fake_app_server import FakeAppServer


@pytest.fixture
async def server() -> AsyncIterator[FakeAppServer]:
    async with FakeAppServer() as fake:
        yield fake


@pytest.fixture
async def upstream(server: FakeAppServer) -> AsyncIterator[AppServerUpstream]:
    letta = upstream_of(server)
    yield letta
    await letta.aclose()
