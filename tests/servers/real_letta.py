"""What the real servers have in common for the tests: where they are, and what can be seen behind the gateway."""

from collections.abc import Iterable
from typing import Any, Protocol

from gateway.app import upstream_for
from gateway.letta.upstream import Upstream
from gateway.settings import AgentType, Letta, Secret, Settings


class RealLetta(Protocol):
    """A real Letta in front of the scripted model. Whatever it tells comes from the server, not from the gateway."""

    name: str
    """Of the tables of what differs by nature: `v1` or `app-server`."""
    base_url: str
    api_key: str
    model: str
    """The handle of the scripted model."""
    seeing: str
    """Another, by which the scripted model is shown pictures, where there must be one."""
    tools: tuple[str, str]
    """Two tools of its own that an agent type may list."""

    def agents(self, tags: Iterable[str]) -> list[str]:
        """The ids of the agents that carry all of `tags`."""
        ...

    def create_agent(self, system: str) -> str: ...

    def delete_agent(self, id: str) -> None: ...

    def conversations(self, agent_id: str) -> list[str]:
        """The ids of an agent's conversations, without the hidden ones."""
        ...

    def memory(self, agent_id: str) -> dict[str, str]:
        """What stands in an agent's memory blocks, by label."""
        ...


def letta_settings(letta: RealLetta, **changes: Any) -> Letta:
    """The settings of a gateway in front of `letta`."""
    fields: dict[str, Any] = {"base_url": letta.base_url, "api_key": Secret(letta.api_key), **changes}
    return Letta(**fields)


def upstream_to(letta: RealLetta, **changes: Any) -> Upstream:
    """The gateway's own way to `letta`, not yet started."""
    return upstream_for(Settings(letta=letta_settings(letta, **changes), agent_types=(AgentType(id="any"),)))
