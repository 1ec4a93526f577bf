"""The App Server's words: its frames, and its answers to requests, as far as they are read. Performs no I/O.

The protocol is declared in the package `letta` (`letta_code/_payload/app/dist/types/types/protocol_v2.d.ts`).
"""

from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from gateway.domain import errors
from gateway.domain.events import TokensCounted
from gateway.letta.parts import from_parts
from gateway.letta.stream_messages import StreamedCall, StreamMessage, to_tokens
from gateway.letta.upstream import Conversation

PROTOCOL_VERSION = 1
# How many agents or conversations it is asked for at once.
PAGE = 100
# The App Server itself knows these models by their ids alone, and shows pictures to none of them.
BLIND_PREFIX = "openai-compatible/"
# The gateway's own mod ends the names of those of them so that are shown pictures.
SEES_MARK = " (sees pictures)"
# Ids of what a tool prints while it runs: `createToolExecutionOutputEmitter` in `letta_code/_payload/app/letta.js`.
PRINTED = "synthetic-tool-return-stream-"
# https://docs.letta.com/letta-code: the tools of its toolsets. Most of them act on the App Server's host.
BUILTIN_TOOLS = frozenset(
    {
        *("Bash", "exec_command", "write_stdin", "Monitor", "Read", "Write", "Edit", "ApplyPatch", "ViewImage"),
        *("EnterWorktree", "ExitWorktree", "SetWorkingDirectory", "WatchPR", "Skill", "Memory", "UpdatePlan"),
        *("Task", "TaskCreate", "TaskGet", "TaskList", "TaskStop", "TaskUpdate", "Workflow"),
        *("SendAgentMessage", "Wake"),
    }
)
# All names by which an App Server knows tools, offered or not: `toolDefinitions`, `TOOL_NAME_MAPPINGS` in `letta.js`.
# It holds a call by one of them against the parameters of its own tool, whoever's is called.
_TAKEN = BUILTIN_TOOLS | {
    *("Agent", "AskUserQuestion", "AskUserQuestionAsync", "Glob", "Grep", "LS", "ReadLSP"),
    *("read_artifact_file", "write_artifact_file"),
}
_OF_CLIENT = "client_"


def offered_name(name: str) -> str:
    """The name under which an App Server is offered a client's tool: `client_Bash` for `Bash`.

    It is the tool's own for all but those of the App Server's own tools.
    """
    return f"{_OF_CLIENT}{name}" if _bare(name) in _TAKEN else name


def client_name(offered: str) -> str:
    """The name that its client gave the tool that is offered as `offered`, the inverse of `offered_name`."""
    return offered.removeprefix(_OF_CLIENT) if _bare(offered) in _TAKEN else offered


def _bare(name: str) -> str:
    return name.rpartition(_OF_CLIENT)[2]


class Runtime(Struct, frozen=True):
    """The agent and the conversation that a frame is about: `Runtime("agent-1", "conv-1")`."""

    agent_id: str | None = None
    conversation_id: str | None = None


class Head(Struct, frozen=True):
    """The fields of a frame that tell who is to read it."""

    type: str = ""
    request_id: str | None = None


class LoopStatus(Struct, frozen=True):
    """The state of a conversation's loop, and the runs that have taken messages."""

    status: str = ""
    client_message_ids_by_run_id: dict[str, list[str]] = {}


class StreamDelta(StreamMessage, frozen=True):
    """One message of a turn: one of Letta's, or of the App Server's own loop."""

    id: str | None = None
    run_id: str | None = None
    event_type: str | None = None
    event_data: dict[str, Any] | None = None
    client_message_ids: list[str] = []
    # approval_classification_end: of the calls of a step, those that are not done without asking
    user_input_tool_call_ids: list[str] = []

    @property
    def is_printed(self) -> bool:
        """True of a tool's return that is only what the tool has printed up to now."""
        return (self.id or "").startswith(PRINTED)

    @property
    def tokens_counted(self) -> TokensCounted:
        """The usage of a step. Its `prompt_tokens` leave out what the provider had in its cache; Letta's never do."""
        tokens = to_tokens(self)
        if self.total_tokens is None:
            return tokens
        return structs.replace(tokens, prompt=self.total_tokens - tokens.completion)


class Frame(Head, frozen=True):
    """A frame of a runtime; `type` tells which of the other fields it has."""

    runtime: Runtime | None = None
    # stream_delta; with a `subagent_id` it is not the agent who speaks
    delta: StreamDelta | None = None
    subagent_id: str | None = None
    # update_loop_status
    loop_status: LoopStatus | None = None
    # turn_finished
    stop_reason: str | None = None
    run_id: str | None = None
    error: str | None = None


class HalvedFrame(Frame, frozen=True):
    """A frame whose texts may hold half of a surrogate pair."""


Arrival = Frame | errors.UpstreamError
"""A frame of a conversation; or the error that breaks off all turns, as the last of what arrives."""
OutgoingFrame = dict[str, Any]


class ToolRequest(Struct, frozen=True):
    """`external_tool_call_request`: the agent calls a tool of the gateway's, or of its client's."""

    request_id: str
    tool_name: str
    input: Any
    runtime: Runtime
    tool_call_id: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by their names; none where the model gave no object, which only clients' tools may take."""
        return self.input if isinstance(self.input, dict) else {}


class PermissionAsked(Struct, frozen=True):
    """The call that a `control_request` is about: `PermissionAsked("Bash", "call_1")`."""

    tool_name: str = ""
    tool_call_id: str = ""


class ControlRequest(Struct, frozen=True):
    """`control_request`: the agent wants to use a tool that nobody has allowed yet."""

    request_id: str
    agent_id: str | None = None
    conversation_id: str | None = None
    request: PermissionAsked = PermissionAsked()


class DeviceStatus(Struct, frozen=True):
    """`device_status` of `update_device_status`, as far as it is needed."""

    memory_directory: str | None = None


class DeviceUpdate(Struct, frozen=True):
    """`update_device_status`: the state of the App Server's host."""

    device_status: DeviceStatus = DeviceStatus()


# Answers to requests, as far as they are read.


class ServerAnswer(Struct, frozen=True):
    """An answer to a request; those with a body are subclasses."""

    success: bool = True
    accepted: bool = True
    disposition: str | None = None
    error: str | None = None


class KeptAgent(Struct, frozen=True):
    """An agent as the App Server keeps it: without a date, and without metadata."""

    id: str
    tags: list[str] = []
    model: str | None = None
    name: str | None = None


class AgentsListed(ServerAnswer, frozen=True):
    """The answer to `agent_list`."""

    agents: list[KeptAgent] = []


class OneAgent(ServerAnswer, frozen=True):
    """The answer to `agent_create`, `agent_update` and `agent_retrieve`."""

    agent: KeptAgent | None = None


class ConversationsListed(ServerAnswer, frozen=True):
    """The answer to `conversation_list`."""

    conversations: list[Conversation] = []


class OneConversation(ServerAnswer, frozen=True):
    """The answer to `conversation_create` and `conversation_fork`."""

    conversation: Conversation | None = None


class KeptMessage(Struct, frozen=True):
    """A message of a conversation's listing, or a part of one."""

    id: str
    message_type: str = ""
    otid: str | None = None
    content: str | list[dict[str, Any]] = ""
    # approval_request_message
    tool_call: StreamedCall | None = None
    # tool_return_message
    tool_call_id: str | None = None
    status: str | None = None
    tool_return: Any = None
    # reasoning_message
    reasoning: str | None = None
    date: str | None = None

    @property
    def made_at(self) -> datetime | None:
        """The moment at which it came; None where nobody can read the date."""
        try:
            return datetime.fromisoformat(self.date) if self.date else None
        except ValueError:
            return None

    @property
    def step(self) -> str:
        """The name of the step that it is a part of: the parts of one have ids that begin alike."""
        return self.id.partition(":")[0]

    @property
    def texts(self) -> list[str]:
        return [piece for piece in from_parts(self.content) if isinstance(piece, str)]


class MessagesListed(ServerAnswer, frozen=True):
    """The answer to `conversation_messages_list`, the newest message first."""

    messages: list[KeptMessage] = []


class File(ServerAnswer, frozen=True):
    """The answer to `read_file`, `read_memory_file` and `memory_file_at_ref`."""

    content: str | None = None


class ModelEntry(Struct, frozen=True):
    """A model, or a variant of one: `ModelEntry("openai-compatible/offline", "offline (sees pictures)")`."""

    handle: str
    label: str | None = None


class ModelsListed(ServerAnswer, frozen=True):
    """The answer to `list_models`."""

    entries: list[ModelEntry] = []


class Connected(Struct, frozen=True):
    """The connection of a provider of models."""

    is_connected: bool = False


class KnownProvider(Struct, frozen=True):
    """A provider of models that the App Server knows, connected or not."""

    id: str
    connected: Connected = Connected()


class ProvidersListed(ServerAnswer, frozen=True):
    """The answer to `list_connect_providers`."""

    providers: list[KnownProvider] = []


class Info(ServerAnswer, frozen=True):
    """The answer to `app_server_info`."""

    protocol_version: int = 0


RUNTIME_FRAMES = frozenset({"stream_delta", "update_loop_status", "turn_finished"})
