"""What the gateway needs of a Letta, whichever kind it is: the protocol that every upstream obeys."""

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from gateway.domain.events import Event
from gateway.domain.messages import Message, PendingCall, ToolResult
from gateway.domain.request import NO_OPTIONS, ClientTool, Options


class Instructions(Struct, frozen=True):
    """The system text of a client, for one chat."""

    text: str = ""
    told: str = ""
    """What the conversation was told before, in a Letta where it must be told in words."""
    prompt: str = ""
    """The agent's own compiled prompt, in a Letta that tells it: the text is added to it."""


NO_INSTRUCTIONS = Instructions()


class Sending(Struct, frozen=True):
    """What a run begins with, or goes on with."""

    messages: list[Message]
    instructions: Instructions = NO_INSTRUCTIONS
    denied: tuple[str, ...] = ()
    """Calls that wait for an answer, or an approval, which they will not get."""
    results: tuple[ToolResult, ...] = ()
    """The answers to others."""
    approved: tuple[str, ...] = ()
    """Those that are allowed."""
    reason: str = ""
    """Why the denied ones are."""
    tools: tuple[ClientTool, ...] = ()
    """Tools of the client's that the agent may call beside its own."""
    options: Options = NO_OPTIONS

    @property
    def resumes(self) -> bool:
        """Whether it answers calls that wait, and so is of no use where none does."""
        return bool(self.results or self.approved)


class Past(Struct, frozen=True):
    """What a conversation holds, the oldest message first; all of an answer's parts are one message."""

    messages: list[Message]
    told: str = ""
    """The client's instructions that it was last told in words."""
    pending: tuple[PendingCall, ...] = ()
    """Its calls that wait."""
    open: bool = True
    """Whether a turn can be added; else a turn without an end, which is not in `messages`, stands in the way."""
    unfinished: list[Message] = []
    """What was said in that turn, as far as it is kept."""


class Fork(Struct, frozen=True):
    """Where another conversation has the beginning of a path."""

    conversation_id: str
    message_id: str
    """The last message of it that is kept."""
    kept: int
    """How many messages of the path that makes."""


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
    updated_at: datetime | None = None
    last_message_at: datetime | None = None
    summary: str | None = None
    agent_id: str = ""
    tags: tuple[str, ...] = ()
    hidden: bool | None = None
    heard: int = 0
    """How many messages of a path the agent has heard in it; told of one that is made."""

    @property
    def used_at(self) -> datetime:
        """When it was last used or changed."""
        moments = [at for at in (self.created_at, self.updated_at, self.last_message_at) if at]
        return max(moments, default=datetime.max.replace(tzinfo=UTC))


def age(made: Agent | Conversation) -> tuple[datetime, str]:
    """Sorts what Letta made, the oldest first; the id decides between two of one moment."""
    return made.created_at or datetime.max.replace(tzinfo=UTC), made.id


Take = Callable[[list[Event]], None]
"""Takes the events of a run that came at once, in one list."""

MAKING_TAG = "gw-making:"


def making_tag() -> str:
    """A tag for what is made together, by which it is found again should Letta refuse to make all of it."""
    return f"{MAKING_TAG}{uuid.uuid4().hex}"


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

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        """The conversations of an agent, or of all, with `summary` somewhere in theirs.

        Look closer before relying on it: a search may be coarse.
        """
        ...

    async def has_conversations(self, agent_id: str) -> bool: ...

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        """A conversation in which the agent has heard as much of `path` as can be made so: `heard` tells.

        `fork` is for a Letta that can cut; of the rest, the answers count, for what was said after the last of them
        can be sent.
        """
        ...

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past: ...

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None: ...

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None: ...

    async def sees(self, agent_id: str) -> bool:
        """Whether pictures reach the agent's model; else words stand in their place."""
        ...

    async def tool_names(self, agent_id: str, tools: Iterable[str]) -> frozenset[str]:
        """The tools that an agent has of its own; `tools` are those of its agent type."""
        ...

    @property
    def forks(self) -> bool:
        """Whether a conversation can be made of the beginning of another, and of answers given before.

        Otherwise a run takes the answers, with the rest of the path.
        """
        ...

    @property
    def applies(self) -> frozenset[str]:
        """Which of the `Options` it can apply to a run."""
        ...

    async def recompile(self, conversation_id: str) -> str:
        """Let a living conversation see its agent's present system prompt and memory; gives them, or nothing."""
        ...

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        """Send messages, have `take` called with what Letta says as it comes, and return when the run has stopped.

        `tools` are those of the agent type, for a Letta whose agents have none of their own. A run that calls tools of
        the client's stops with `StopReason.WAITING`, and goes on with a sending that answers them. Nobody listens to
        the run any more once `take` raises, or the caller is cancelled: what was opened for it is closed, whatever is
        cancelled meanwhile, and the exception comes out.
        Raises Stuck where nothing waits for these answers.
        """
        ...

    async def is_running(self, conversation_id: str) -> bool:
        """Whether a run of a conversation is under way, whoever has begun it; as far as this Letta tells."""
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
