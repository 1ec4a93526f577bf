"""An embedded Letta beside others."""

from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.letta.rest.upstream import RestUpstream


def test_only_in_an_embedded_letta_does_nobody_else_make_agents() -> None:
    assert EmbeddedUpstream.capabilities.owned
    assert not RestUpstream.capabilities.owned
    assert not AppServerUpstream.capabilities.owned
