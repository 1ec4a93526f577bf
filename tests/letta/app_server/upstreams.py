"""The upstream over an App Server that is played, and what a turn over it says."""

from typing import Any

from gateway.domain.events import PING, Event
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Sending
from gateway.settings import Letta
from tests.servers.fake_app_server import FakeAppServer


def upstream_of(server: FakeAppServer, **changes: Any) -> AppServerUpstream:
    """The upstream over `server`, with these settings changed."""
    return AppServerUpstream(Letta(**{"base_url": server.url, "request_seconds": 10.0, **changes}))


async def run(
    upstream: AppServerUpstream, sending: Sending, tools: tuple[str, ...] = (), conversation: str = "conv-1"
) -> list[Event]:
    """What a turn says."""
    async with upstream.run("agent-1", conversation, sending, tools) as batches:
        return [event async for batch in batches for event in batch if event != PING]
