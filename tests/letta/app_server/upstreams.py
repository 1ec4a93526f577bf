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
    events: list[Event] = []
    await upstream.run("agent-1", conversation, sending, tools, events.extend)
    return [event for event in events if event != PING]
