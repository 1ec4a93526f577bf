"""The kinds of agents. Performs no I/O."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.domain.look import Reasoning

ClientToolUse = Literal["forward", "ignore"]
Approvals = Literal["ask", "deny"]

DEFAULT_MEMORY = {
    "persona": "I remember the person I talk to, and what matters to them.",
    "human": "What I know about the person I talk to:",
}
# The model that answers background tasks and nothing else; no agent type can have its name.
TASK_MODEL = "task"


class AgentType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of agent: `/v1/models` lists it, and the `model` of a request names it."""

    id: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s,]+\Z")]
    """The name by which the `model` of a request means it."""
    name: str | None = None
    """The name shown to people; absent: the id."""
    description: str = ""
    """The description shown to people."""
    agent: Annotated[str, Meta(pattern="^agent-")] | None = None
    """The id of an agent that exists: everyone who may use this type shares it."""
    model: str | None = None
    """Letta's model handle; absent (App Server): the first that Letta lists."""
    embedding: str | None = None
    """Letta's embedding handle; absent: Letta's default."""
    system: str | None = None
    """The system prompt; absent: Letta's own."""
    system_file: str | None = None
    """A file that holds the system prompt; its path is relative to the configuration file."""
    tools: tuple[str, ...] = ()
    """The names of Letta tools that its agents have, beside those that every agent has."""
    memory: dict[str, str] | UnsetType = UNSET
    """The first values of the memory blocks by label; absent: `persona` and `human`."""
    reasoning: Reasoning = "think_tags"
    """The way in which thoughts are shown."""
    client_tools: ClientToolUse = "forward"
    """`forward`: agents may call the tools that a request brings; `ignore`: they may not."""
    approvals: Approvals | None = None
    """`ask`: the person is asked in the chat about a tool that needs approval; `deny`: such a tool is denied.

    Absent: `deny` for a shared agent, else `ask`.
    """
    conversations: Literal["chat", "single"] = "chat"
    """`chat`: a conversation for each chat; `single`: one endless thread for each user."""

    @property
    def title(self) -> str:
        return self.name or self.id

    @property
    def asks(self) -> bool:
        """True if people are asked to approve what their agent may not do alone."""
        return (self.approvals or ("deny" if self.agent else "ask")) == "ask"

    @property
    def blocks(self) -> dict[str, str]:
        return DEFAULT_MEMORY if self.memory is UNSET else self.memory
