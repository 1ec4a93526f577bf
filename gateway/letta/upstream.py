"""What the gateway needs of a Letta, whichever kind it is: the protocol that every upstream obeys."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from msgspec import Struct

from gateway.letta.events import Event

Role = Literal["system", "user", "assistant"]


class Message(Struct, frozen=True):
    """One message for an agent."""

    role: Role
    content: str


class Template(Struct, frozen=True):
    """What an agent is made of."""

    model: str
    tags: tuple[str, ...]
    name: str
    system: str | None
    tools: tuple[str, ...]
    blocks: dict[str, str]
    embedding: str | None
    metadata: dict[str, Any]


class Agent(Struct, frozen=True):
    """An agent as Letta tells of it."""

    id: str
    created_at: datetime | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None


class Conversation(Struct, frozen=True):
    """A conversation as Letta tells of it."""

    id: str
    created_at: datetime | None = None
    summary: str | None = None
    has_turns: bool = False
    """Whether the agent has heard anything in it; told of one that is made or resumed."""


def age(made: Agent | Conversation) -> tuple[datetime, str]:
    """Sorts what Letta made, the oldest first; the id decides between two of one moment."""
    return made.created_at or datetime.max.replace(tzinfo=UTC), made.id


class Upstream(Protocol):
    """A Letta to talk to. Every call raises UpstreamError and nothing else."""

    async def start(self) -> None:
        """Called before anything else; called again, it does nothing."""
        ...

    async def find_agents(self, tags: Iterable[str]) -> list[Agent]:
        """Every agent that carries all of `tags`."""
        ...

    async def create_agent(self, template: Template) -> Agent: ...

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        """Give a living agent the template's system prompt, model, tools and metadata.

        Tools of `tools_before` that the template no longer lists are taken off; its memory stays as it is.
        """
        ...

    async def delete_agent(self, agent: Agent) -> None:
        """Delete an agent and its memory blocks."""
        ...

    async def find_conversations(self, agent_id: str, summary: str) -> list[Conversation]:
        """The conversations of an agent with `summary` somewhere in theirs; look closer before relying on it."""
        ...

    async def has_conversations(self, agent_id: str) -> bool: ...

    async def create_conversation(self, agent_id: str, summary: str, history: list[Message]) -> Conversation:
        """A conversation in which the agent has heard `history`; without turns where that cannot be made so."""
        ...

    async def resume_conversation(
        self, agent_id: str, conversation: Conversation, history: list[Message]
    ) -> Conversation:
        """A conversation that was found, ready for a turn.

        Another takes its place where a turn without an end stands in the way, of which it then shows nothing;
        and where it has no turns, and `history` can be put into it.
        """
        ...

    async def recompile(self, conversation_id: str) -> None:
        """Let a living conversation see its agent's present system prompt and memory."""
        ...

    def run(
        self, agent_id: str, conversation_id: str, messages: list[Message], tools: Iterable[str]
    ) -> AbstractAsyncContextManager[AsyncGenerator[list[Event], None]]:
        """Send `messages` and give what Letta says, as it comes, all that came at once in one list.

        `tools` are those of the agent type, for a Letta whose agents have none of their own.
        """
        ...

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        """End the run of a conversation; returns when it is ended, or when there was none."""
        ...

    async def check_health(self) -> None:
        """Returns if Letta answers, in words the gateway knows."""
        ...

    async def list_models(self) -> list[str]:
        """The handles of the models Letta knows."""
        ...

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that Letta has no tool for."""
        ...

    async def check_agent(self, agent_id: str) -> None:
        """Returns if there is such an agent and the key may use it."""
        ...

    async def aclose(self) -> None: ...
