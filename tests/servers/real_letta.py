"""What the real servers have in common for the tests: where they are, and what can be seen behind the gateway."""

from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from gateway.choices import upstream_for
from gateway.letta.upstream import Upstream
from gateway.settings import AgentType, Letta, Provider, Secret, Settings

if TYPE_CHECKING:  # a gateway's tests know both
    from tests.servers.trio import Threes


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

    provider: Provider | None
    """Whose models it has, where the gateway's settings say so."""
    threes: "Threes | None"
    """The deployment of the gateways in front of it, where they come in threes."""

    def settings(self, **changes: Any) -> Letta:
        """The settings of a gateway in front of it."""
        ...

    def config(self, directory: Path) -> str:
        """The lines of a configuration that name it, for a gateway that may keep its state in `directory`."""
        ...

    def upstream(self, settings: Settings) -> Upstream:
        """The gateway's own way to it, not yet started."""
        ...

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


class AtAddress:
    """A real Letta that somebody else runs: gateways reach it by its address and its key."""

    base_url: str
    api_key: str
    provider: Provider | None = None
    threes: "Threes | None" = None

    def in_threes(self, threes: "Threes") -> Self:
        """The same Letta, in front of which gateways come in threes."""
        same = copy(self)
        same.threes = threes
        return same

    def settings(self, **changes: Any) -> Letta:
        fields: dict[str, Any] = {"base_url": self.base_url, "api_key": Secret(self.api_key), **changes}
        return Letta(**fields)

    def config(self, directory: Path) -> str:
        return f'[letta]\nbase_url = "{self.base_url}"\napi_key = "{self.api_key}"'

    def upstream(self, settings: Settings) -> Upstream:
        return upstream_for(settings)


def upstream_to(letta: RealLetta) -> Upstream:
    """The gateway's own way to `letta`, not yet started."""
    types = (AgentType(id="any"),)
    return letta.upstream(Settings(letta=letta.settings(), agent_types=types, provider=letta.provider))
