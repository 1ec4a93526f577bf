"""All that the gateway needs of a Letta, whichever kind it is: the values that go to and fro, and the calls.

An `Upstream` has `AgentCalls`, `ConversationCalls`, `RunCalls` and `DiagnosisCalls`, and tells its `Capabilities`.
"""

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from msgspec import Struct

from gateway.domain.events import Event
from gateway.domain.messages import Message, PendingCall, ToolResult
from gateway.domain.request import NO_OPTIONS, ClientTool, Options


class Capabilities(Struct, frozen=True):
    """The abilities of a kind of Letta that others lack: `Capabilities(forks=True, applies=frozenset({"max_tokens"}))`.

    They hold for every agent and every run of it, and never change.
    """

    forks: bool = False
    """True: `create_conversation` can cut another conversation at a message, and put answers into the new one. False: a
    new conversation is empty, and a run takes the answers of a path with its messages."""
    applies: frozenset[str] = frozenset()
    """The names of the fields of `Options` that it applies to a run."""
    keeps_runs: bool = False
    """True: a run goes on to its end, and is kept, when the gateway that has begun it is gone. False: it is broken off,
    and its conversation is of no use any more."""
    owned: bool = False
    """True: nobody else makes agents in it, and so the first that is made for a user is the only one."""


class Instructions(Struct, frozen=True):
    """The system text of a client, for one chat: `Instructions("Speak French.")`."""

    text: str = ""
    sent_before: str = ""
    """The text that the conversation was sent last, by a Letta that takes it as a note among the messages."""
    prompt: str = ""
    """The agent's own compiled prompt, from a Letta whose `recompile` gives it: the text is added to it."""


NO_INSTRUCTIONS = Instructions()


class Sending(Struct, frozen=True):
    """Everything that a run begins with, or goes on with: `Sending([Message("user", "Hi")])`.

    A run that waits for calls goes on with `Sending([], results=(ToolResult("call_1", "12 degrees"),))`.
    """

    messages: list[Message]
    instructions: Instructions = NO_INSTRUCTIONS
    denied: tuple[str, ...] = ()
    """The ids of calls that wait for a result or an approval, and get none."""
    results: tuple[ToolResult, ...] = ()
    """The results of calls of the client's tools."""
    approved: tuple[str, ...] = ()
    """The ids of calls that are allowed."""
    reason: str = ""
    """The words that the agent is told about the denied calls; empty for those of the Letta's kind."""
    tools: tuple[ClientTool, ...] = ()
    """Tools of the client's that the agent may call beside its own."""
    options: Options = NO_OPTIONS

    @property
    def resumes(self) -> bool:
        """True: it answers calls that wait, and is of no use where none does."""
        return bool(self.results or self.approved)


class Past(Struct, frozen=True):
    """The content of a conversation, the oldest message first; all parts of an answer are one message.

    `Past([Message("user", "Hi"), Message("assistant", "Hello")])`
    """

    messages: list[Message]
    instructions_sent: str = ""
    """The client's instructions that it was sent last, by a Letta that takes them as a note among the messages."""
    pending: tuple[PendingCall, ...] = ()
    """Its calls that wait, for a result or for an approval."""
    appendable: bool = True
    """False: an earlier turn has no end, and lets no other begin; its messages are `unfinished`."""
    unfinished: list[Message] = []
    """The messages of a turn without an end, as far as they are kept; they are not among `messages`."""


class Verdict(Struct, frozen=True):
    """The word on a call that waited: it is allowed, denied, or left without a result: `Verdict("call_1", False)`."""

    tool_call_id: str
    allowed: bool
    reason: str = ""
    """The words that the agent was told about a call that is not allowed."""


class Exchange(Struct, frozen=True):
    """Something that a conversation was given, and all that came of it: `Exchange(Message("user", "Hi"), …)`.

    The events are those that its run told, as far as a Letta keeps them: no usage, and no pieces. A text, a thought and
    a call are whole, and steps have names that are only of use to tell them apart.
    """

    asked: Message | None = None
    """The words of the person; None where the agent goes on with answers to its calls, or unasked.

    Of several messages of one run each has an exchange of its own, of which the last has the events.
    """
    results: tuple[ToolResult, ...] = ()
    """The results of the client's tools that it was given."""
    decided: tuple[Verdict, ...] = ()
    """The answers to its other calls, as far as a Letta keeps them."""
    events: list[Event] = []
    """The last is a `Stop` where the end is known."""
    made_at: datetime | None = None
    """The moment at which it began, of a Letta that dates messages."""
    run_id: str = ""
    """Letta's id of the run, which several messages sent together share; empty where a Letta tells none."""
    answer_id: str = ""
    """Letta's id of the last text that the agent said in it; empty where it said nothing."""
    instructed: str | None = None
    """The client's instructions that came with it as a note; None where no note came."""


class Fork(Struct, frozen=True):
    """The place where a conversation is cut, for another one to begin with what was said before it.

    `Fork("conv-1", "message-4", kept=4)`
    """

    conversation_id: str
    message_id: str
    """The last message that the new conversation begins with."""
    kept: int
    """The number of messages of the path that it begins with."""

    @classmethod
    def of(cls, conversation_id: str, path: list[Message]) -> Self | None:
        """One that begins with as much of `path`, with which the conversation begins, as it can.

        What Letta was told of in words has no id: it is no message of the conversation, and nothing is cut there.
        """
        kept = max((number for number, message in enumerate(path, 1) if message.id), default=0)
        return cls(conversation_id, path[kept - 1].id, kept) if kept else None


class Template(Struct, frozen=True):
    """An agent type as a Letta makes agents of it."""

    model: str
    """The model's handle, `openai/gpt-4.1`."""
    tags: tuple[str, ...]
    name: str
    system: str | None
    tools: tuple[str, ...]
    blocks: dict[str, str]
    """The memory blocks: their texts by their labels."""
    embedding: str | None
    metadata: dict[str, Any]
    formers: tuple["Former", ...] = ()
    """The tags and names that earlier versions gave the same agent."""

    @property
    def known_as(self) -> tuple["Former", ...]:
        """All tags and names that the agent may have, the present ones first."""
        return Former(self.tags, self.name), *self.formers


class Former(Struct, frozen=True):
    """The tags and the name that an agent was given."""

    tags: tuple[str, ...]
    name: str


class Agent(Struct, frozen=True):
    """An agent as Letta lists it."""

    id: str
    created_at: datetime | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    name: str | None = None


class Conversation(Struct, frozen=True):
    """A conversation as Letta lists it."""

    id: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_message_at: datetime | None = None
    summary: str | None = None
    agent_id: str = ""
    tags: tuple[str, ...] = ()
    hidden: bool | None = None
    seeded: int = 0
    """The number of messages of the path that it began with, as `create_conversation` tells; no listing does."""

    @property
    def used_at(self) -> datetime:
        """The moment at which it was last used or changed."""
        moments = [at for at in (self.created_at, self.updated_at, self.last_message_at) if at]
        return max(moments, default=datetime.max.replace(tzinfo=UTC))


def age(made: Agent | Conversation) -> tuple[datetime, str]:
    """The key that sorts agents or conversations, the oldest first; the id decides between two of one moment."""
    return made.created_at or datetime.max.replace(tzinfo=UTC), made.id


MAKING_TAG = "gw-making:"


def making_tag() -> str:
    """A tag for all that is made together, by which it is found again should Letta refuse to make the whole of it."""
    return f"{MAKING_TAG}{uuid.uuid4().hex}"


Take = Callable[[list[Event]], None]
"""A callback that takes the events of a run: all that came at once in one list, which is never empty."""


class AgentCalls(Protocol):
    """The calls about agents. All of them raise UpstreamError."""

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        """List the agents that carry all of `tags`, a page of them: those that come after the one of the id `after`."""
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

    async def check_agent(self, agent_id: str) -> None:
        """Return if there is such an agent and the key may use it. Raises NotFound."""
        ...

    async def tool_names(self, agent_id: str, tools: Iterable[str]) -> frozenset[str]:
        """List the names of the tools that an agent has of its own; `tools` are those of its agent type."""
        ...

    async def sees(self, agent_id: str) -> bool:
        """Tell if pictures reach the agent's model; where they do not, words stand in their place."""
        ...


class ConversationCalls(Protocol):
    """The calls about the conversations of agents. All of them raise UpstreamError."""

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        """List the conversations of an agent, or of all, with `summary` somewhere in theirs.

        There may be others among them, for a search may be coarse: callers look at each summary.
        """
        ...

    async def has_conversations(self, agent_id: str) -> bool: ...

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        """Make a conversation that begins with as much of `path` as a conversation can be given: `seeded` tells.

        `fork` is for a Letta that forks. Of the rest of `path` only what ends with an answer is put there: what was
        said after the last answer can be sent.
        """
        ...

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past: ...

    async def read_exchanges(self, agent_id: str, conversation: Conversation) -> list[Exchange]:
        """Read all that a conversation was given and all that came of it, the oldest first.

        What a turn without an end has left behind is among it, where a Letta keeps that: it has no `Stop`.
        """
        ...

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None: ...

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None: ...

    async def recompile(self, conversation_id: str) -> str:
        """Let a living conversation see its agent's present system prompt and memory.

        Gives the compiled prompt, for `Instructions.prompt`; empty where instructions are sent as a note.
        """
        ...


class RunCalls(Protocol):
    """The calls about runs. All of them raise UpstreamError."""

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
        """Tell if a run of a conversation is under way, whoever has begun it; as far as this Letta knows."""
        ...

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        """End the run of a conversation; returns when it is ended, or when there was none."""
        ...


class DiagnosisCalls(Protocol):
    """The calls that tell how a Letta is, and what it has. All of them raise UpstreamError."""

    async def check_health(self) -> None:
        """Return if Letta answers, in words the gateway knows."""
        ...

    async def list_models(self) -> list[str]:
        """List the handles of the models that Letta knows."""
        ...

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        """List those of `names` that Letta has no tool for."""
        ...


class Upstream(AgentCalls, ConversationCalls, RunCalls, DiagnosisCalls, Protocol):
    """A Letta to talk to. Every call raises UpstreamError and nothing else."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def start(self) -> None:
        """Get it ready, before anything else is called; called again, it does nothing. Raises UpstreamError."""
        ...

    async def aclose(self) -> None: ...
